"""What the job recorded, read back from Postgres: decisions with their features as served, labels, settings in force."""
