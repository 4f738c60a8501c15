"""StreamFlow: real-time card-fraud detection on Apache Flink."""

from flink_jobs.native.loader import install

install()
