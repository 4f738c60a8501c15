"""Card files: reads transactions from CSV, JSON lines or Parquet through a column mapping."""
