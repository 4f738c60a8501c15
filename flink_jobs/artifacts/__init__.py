"""Where published model artefacts lie: a directory, or a bucket that speaks S3."""
