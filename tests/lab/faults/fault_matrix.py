"""The fault matrix: all cases in the order in which they run."""

from typing import Final

from tests.lab.faults import cases_processes, cases_storage, cases_traffic

CASES: Final = (
    *cases_traffic.CASES,
    *cases_storage.CASES,
    *cases_processes.CASES,
    *cases_traffic.OWN_CASES,
    *cases_storage.OWN_CASES,
    *cases_processes.OWN_CASES,
)
"""Cases on the shared pair of jobs run first, then the cases that start their own jobs."""
