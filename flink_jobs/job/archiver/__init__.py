"""The archive job: which topic goes to which table, and how a batch is written to Postgres."""
