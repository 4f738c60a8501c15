"""What the job recorded, read back from Postgres: decisions, features as served, labels, settings in force."""
