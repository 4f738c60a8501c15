"""A few cases of the fault matrix on every change. `make faults` runs all; docs/faults.md shows what came of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_jobs.local.stack import Stack
from tests.lab.faults.fault_command import run_case
from tests.lab.faults.fault_matrix import CASES
from tests.lab.faults.fault_stack import Lab
from tests.lab.faults.finding import Status

QUICK = ("schema-change", "clock-jump", "broker-kill", "state-corrupt")
"""Not those that other tests of this folder do: garbage, a killed TaskManager, idle partitions, damaged models."""


@pytest.fixture(scope="module")
def lab(stack: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(stack, model_dir, tmp_path_factory.mktemp("faults"), taskmanagers=2)
    yield made
    made.end_shared()


# A broker that is killed leaves kafka-python's half-made connections unclosed; only the collector finds them.
@pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("name", QUICK)
def test_the_account_balances_after_the_fault(lab: Lab, name: str) -> None:
    (case,) = (case for case in CASES if case.name == name)

    finding = run_case(lab, case, seed=1)
    gc.collect()

    assert finding.problems == []
    assert finding.status is Status.HOLDS
    assert finding.kafka == finding.postgres
    assert finding.sent > 0
