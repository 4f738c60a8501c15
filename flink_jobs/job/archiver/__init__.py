"""The parts of the archive job: the table of each topic, and the writing of batches to Postgres."""
