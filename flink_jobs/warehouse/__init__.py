"""The warehouse behind the archive job: migrations, dbt, quality checks, backups. Runs in both Python environments."""
