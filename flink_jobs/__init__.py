"""StreamFlow, real-time card-fraud detection on Apache Flink: the whole product (jobs, clients and command line)."""

from flink_jobs.native.loader import install

install()
