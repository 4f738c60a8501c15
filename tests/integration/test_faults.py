"""Four cases of the fault matrix, for every change. ``make faults`` runs all; docs/faults.md shows the results."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_jobs.local.stack import Stack
from tests.lab.faults.fault_case import CaseStatus
from tests.lab.faults.fault_command import run_case
from tests.lab.faults.fault_matrix import CASES
from tests.lab.faults.system_under_test import SystemUnderTest

QUICK = ("schema-change", "clock-jump", "broker-kill", "state-corrupt")
"""Other tests of this folder cover malformed records, a killed TaskManager, idle partitions and damaged models."""


@pytest.fixture(scope="module")
def system(stack: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemUnderTest]:
    made = SystemUnderTest(stack, model_dir, tmp_path_factory.mktemp("faults"), taskmanagers=2)
    yield made
    made.end_shared()


# When a broker is killed, kafka-python leaves half-open connections; only the garbage collector closes them.
@pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("name", QUICK)
def test_the_ledger_is_complete_after_the_fault(system: SystemUnderTest, name: str) -> None:
    (case,) = (case for case in CASES if case.name == name)

    result = run_case(system, case, seed=1)
    gc.collect()

    assert result.problems == []
    assert result.status is CaseStatus.HOLDS
    assert result.kafka == result.postgres
    assert result.sent > 0
