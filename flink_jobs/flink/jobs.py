"""The product's jobs by the name they have on the command line; in Flink each is called ``streamflow-<name>``."""

from __future__ import annotations

JOBS = {"detect": "flink_jobs/job/detect.py", "archive": "flink_jobs/job/archive.py"}
"""Name to the file with the job's main, below the checkout: the jobs that every installation runs."""
OPTIONAL_JOBS = {"lake": "flink_jobs/job/lake.py", "merchants": "flink_jobs/job/merchants.py"}
"""Jobs that run only if the user submits them by name."""
ALL_JOBS = {**JOBS, **OPTIONAL_JOBS}
