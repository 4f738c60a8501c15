"""The matrix: every case, in the order it runs."""

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
"""Cases on the shared jobs first; those on jobs of their own after them."""
