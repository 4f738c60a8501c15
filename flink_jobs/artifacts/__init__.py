"""Stores of published model artifacts: a directory, or a bucket with an S3 interface."""
