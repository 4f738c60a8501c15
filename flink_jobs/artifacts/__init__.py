"""Where published model artifacts lie: a directory, or a bucket that speaks S3."""
