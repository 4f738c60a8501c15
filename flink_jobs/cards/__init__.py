"""Card files: rows of CSV, JSON lines or Parquet become transactions through a column mapping."""
