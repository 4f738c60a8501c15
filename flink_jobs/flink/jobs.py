"""The product's jobs by the name they have on the command line; in Flink each is called ``streamflow-<name>``."""

from __future__ import annotations

JOBS = {"detect": "flink_jobs/job/detect.py", "archive": "flink_jobs/job/archive.py"}
"""Name to the file with the job's main, below the checkout."""
