"""A canary on a running detector: an equal program passes, another is returned, and the running job is untouched.

``make canary-check`` runs this file; it needs about three minutes and is not a part of ``make test``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.canary.comparison import Comparison, Limits
from flink_jobs.canary.running import compare_with_running, environment, find_canary
from flink_jobs.flink.savepoints.latest import newest
from flink_jobs.flink.savepoints.snapshot import local_path, open_snapshot
from flink_jobs.job.start_point import place_of
from flink_jobs.kafka.topics import admin
from flink_jobs.local.checkout import PYTHON
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.waiting import wait_for
from tests.integration import jobs

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "canaried"
CANARY = f"{PREFIX}-canary"
PASS, RETURN = 0, 3
LIMITS = Limits(records=100, behind_ms=120_000)
"""The machine may be busy, so only the content is judged strictly."""
OPTIONS = ("--limit", "records=100", "--limit", "behind_ms=120000", "--output", "json")


class Running:
    """A detector with its own topics, and the command line of its operator."""

    def __init__(self, stack: Stack, model_dir: Path, folder: Path) -> None:
        self.stack = stack
        self.environment = {
            "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, PREFIX),
            "STREAMFLOW_MODEL_DIR": str(model_dir),
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
            "STREAMFLOW_REPORT_DIR": str(folder),
        }
        changes = {"topic_prefix": PREFIX, "report_dir": folder}
        self.settings: Settings = stack.settings().model_copy(update=changes)
        self.job_id = jobs.start_job(stack, "detect", self.environment)

    def run(self, *arguments: str, **changes: str) -> tuple[int, Any]:
        """Return exit code and JSON of `streamflow canary`."""
        own = {**self.environment, **changes, "STREAMFLOW_HOME": str(self.stack.home.root)}
        command = [str(PYTHON), "-P", "-m", "flink_jobs.cli", "canary", *arguments]
        answer = subprocess.run(
            command, cwd=REPO_ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=600
        )
        assert answer.stdout, answer.stderr
        return answer.returncode, json.loads(answer.stdout)

    def send(self, run: str, count: int, rate: float | None = None) -> None:
        """Send transactions and wait until the running job has decided all of them."""
        ledger = jobs.send(self.stack, jobs.card_events(run, count), prefix=PREFIX, rate=rate)
        assert jobs.account(self.stack, ledger, PREFIX).is_as_expected

    def compared(self, since_ms: int, *, equal: bool) -> Comparison:
        """Wait until enough records are compared for a verdict that is not unknown."""

        def found() -> Comparison | None:
            result = compare_with_running(self.settings, self.stack.rest(), LIMITS, since_ms)
            ready = result.verdict == "pass" or any(item.name == "equal_share" and item.value for item in result.checks)
            return result if ready or (not equal and result.verdict == "return") else None

        return wait_for(found, limit_s=jobs.PATIENCE_S, what="a comparison", interval_s=1.0)

    def topics(self) -> set[str]:
        with admin(self.stack.settings().broker()) as client:
            return {name for name in client.list_topics() if name.startswith(CANARY)}


@pytest.fixture(scope="module")
def detector(stack: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(stack, model_dir, tmp_path_factory.mktemp("reports"))
    try:
        yield running
    finally:
        found = [job.job_id for job in stack.rest().active_jobs()]
        jobs.end_jobs(stack, found)


def test_an_equal_program_passes_another_is_returned_and_the_running_job_is_untouched(
    detector: Running, tmp_path: Path
) -> None:
    stack, rest = detector.stack, detector.stack.rest()
    detector.send("before", 100)

    # Transactions arrive while the canary starts, so the savepoint holds open Kafka transactions of the running job.
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(detector.send, "during", 250, 25.0)
        code, started = detector.run("start", "--output", "json")
        assert code == PASS
        sending.result()
    detector.send("after", 100)

    result = detector.compared(started["since_ms"], equal=True)
    assert result.verdict == "pass", result
    assert result.counts["equal"] == result.counts["compared"] >= LIMITS.records
    code, report = detector.run("compare", *OPTIONS)
    assert (code, report["verdict"]) == (PASS, "pass"), report
    code, ended = detector.run("end", "--output", "json")
    assert (code, ended["job"]) == (PASS, started["job_id"])
    assert detector.topics() == set()

    # Another program: without the model the scores differ. It starts from the same savepoint, so no traffic is needed.
    code, other = detector.run(
        "start", "--from-savepoint", started["savepoint"], "--output", "json", STREAMFLOW_MODEL_DIR=str(tmp_path)
    )
    assert code == PASS
    assert detector.compared(other["since_ms"], equal=False).verdict == "return"
    _is_apart(detector)
    code, report = detector.run("compare", "--end-on-return", *OPTIONS)
    assert (code, report["verdict"]) == (RETURN, "return")
    failed = {item["name"] for item in report["checks"] if item["verdict"] == "return"}
    assert "equal_share" in failed
    assert report["examples"][0]["running"] != report["examples"][0]["canary"]
    assert find_canary(rest, PREFIX) is None
    assert detector.topics() == set()
    assert Path(report["report"]).exists()

    # The running job: never restarted, nothing of it lost or written twice, and it decides on.
    detector.send("last", 50)
    assert rest.state(detector.job_id) == "RUNNING"
    assert rest.failures(detector.job_id) == []
    decided = Counter(item["transaction_id"] for item in jobs.committed(stack, "decisions", PREFIX))
    assert set(decided.values()) == {1}
    assert sum(decided.values()) == 100 + 250 + 100 + 50
    assert jobs.committed(stack, "control", PREFIX) == []


def _is_apart(detector: Running) -> None:
    """Check that the running canary's checkpoints are never taken for those of the detector."""
    settings = detector.settings
    found = newest("detect", place_of(settings))
    assert found is not None
    assert found.folder.parent.name == detector.job_id or found.folder.name.startswith("savepoint-")
    folder = local_path(environment(settings)["STREAMFLOW_CHECKPOINT_DIR"])
    canary = find_canary(detector.stack.rest(), PREFIX)
    assert canary is not None
    path = wait_for(
        lambda: detector.stack.rest().checkpoints(canary.job_id).last_path, limit_s=120, what="its checkpoint"
    )
    assert folder in local_path(path).parents
    with open_snapshot(path) as snapshot:
        uids = {operator.uid for operator in snapshot.operators if operator.has_state}
    assert "fraud-detector" in uids
    assert any(uid.startswith("canary-") for uid in uids)
    assert not {"decisions-sink", "dead-letters-sink", "alerts-sink"} & uids
