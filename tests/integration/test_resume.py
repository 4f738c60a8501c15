"""State survives `down`, a moved folder, `up` and `submit`; commands that would lose or double it are refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.flink.admission import TOPIC_PREFIX
from flink_jobs.flink.savepoints.latest import newest
from flink_jobs.flink.savepoints.snapshot import local_path, open_snapshot
from flink_jobs.job.start_point import place_of
from flink_jobs.local.checkout import PYTHON
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.stack_folder import stack_folder
from tests.unit.job.samples import write_model

pytestmark = [pytest.mark.stack, pytest.mark.slow]

EVENTS = 60
MODEL = "v1"


@dataclass
class Operator:
    """Somebody at a terminal, with a stack of one TaskManager."""

    home: Path
    models: Path

    @property
    def stack(self) -> Stack:
        return Stack(self.home)

    def run(self, *arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFLOW_")}
        tools = {name: value for name, value in os.environ.items() if name == "STREAMFLOW_TOOLS_DIR"}
        environment = {
            **others,
            **tools,
            "STREAMFLOW_HOME": str(home or self.home),
            "STREAMFLOW_MODEL_DIR": str(self.models),
            "STREAMFLOW_MODEL_VERSION": MODEL,
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
        }
        command = [str(PYTHON), "-P", "-m", "tests.quick_jvms", *arguments]
        return subprocess.run(
            command, env=environment, cwd=REPO_ROOT, capture_output=True, text=True, timeout=600, check=False
        )

    def does(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stderr.split())

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 2, done.stderr
        return " ".join(done.stderr.split())


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with stack_folder("resume") as folder:
        operator = Operator(folder / "home", tmp_path / "models")
        write_model(operator.models, MODEL)
        try:
            operator.stack.up(taskmanagers=1)
            yield operator
        finally:
            operator.stack.down(wipe=True)


def lost_snapshots_are_refused(operator: Operator) -> None:
    """Check that the detector does not start without state where its consumer group has committed offsets."""
    settings = operator.stack.settings()
    folders = [local_path(uri) for uri in (settings.checkpoint_dir, settings.savepoint_dir)]
    for folder in folders:
        folder.rename(folder.with_name(f"{folder.name}-elsewhere"))
        folder.mkdir()
    told = operator.refused("submit", "detect")
    assert "there is no snapshot of it" in told
    assert "--fresh" in told
    for folder in folders:
        folder.rmdir()
        folder.with_name(f"{folder.name}-elsewhere").rename(folder)


def outcomes(stack: Stack, suffix: str, count: int) -> list[dict[str, Any]]:
    """Wait for this many committed documents of an output topic, and return all that are there."""

    def found() -> list[dict[str, Any]] | None:
        documents = jobs.committed(stack, suffix)
        return documents if len(documents) >= count else None

    return wait_for(found, limit_s=jobs.PATIENCE_S, what=f"{count} records of {suffix}", interval_s=0.5)


def a_copy_stops_nothing(operator: Operator, job_id: str) -> None:
    """Check that commands in a copy of the folder leave the servers and the job alone."""
    copy = operator.home.with_name("copy")
    shutil.copytree(operator.home, copy, ignore=shutil.ignore_patterns("postgres", "kafka", "logs"))
    down = operator.run("down", home=copy)
    assert down.returncode == 0, down.stderr
    assert "Nothing of this stack runs" in down.stderr
    assert {item.state for item in operator.stack.status()} == {"running"}
    foreign = operator.run("cancel", home=copy)
    assert foreign.returncode == 2
    assert f"was written for the stack in {operator.home}" in " ".join(foreign.stderr.split())
    assert [item.job_id for item in operator.stack.rest().active_jobs()] == [job_id]


def nothing_is_missing_after(operator: Operator, what: str) -> None:
    """Check that every record has its row; jobs that are stopped get no time to commit anything."""
    done = operator.run("completeness", "--wait", "240")
    assert done.returncode == 0, (what, done.stdout)


def test_state_survives_down_a_moved_folder_up_submit_and_a_demo(operator: Operator) -> None:
    needs = operator.refused("submit")
    assert "detect and archive need 2 task slots, 1 is free" in needs
    assert "run `streamflow up --taskmanagers 2`" in needs

    told = operator.does("submit", "detect")
    assert "detect starts without state: it has no completed checkpoint or savepoint yet" in told
    (job,) = operator.stack.rest().active_jobs()
    assert operator.stack.rest().job_parameters(job.job_id) == {TOPIC_PREFIX: "streamflow"}
    second = operator.refused("submit", "detect")
    assert f"detect is RUNNING already as job {job.job_id}, in consumer group streamflow-detect" in second

    events = jobs.card_events("resume", EVENTS)
    jobs.send(operator.stack, events)
    customers = {item["customer_id"] for item in outcomes(operator.stack, "decisions", EVENTS)}

    a_copy_stops_nothing(operator, job.job_id)

    told = operator.does("down")
    assert "streamflow-detect stopped with savepoint file:" in told
    moved = operator.home.with_name("moved")
    operator.home.rename(moved)
    operator.home = moved
    operator.does("up", "--taskmanagers", "1")
    found = newest("detect", place_of(operator.stack.settings()))
    assert found is not None
    assert (found.kind, found.customers()) == ("savepoint", (len(customers), ""))

    started = operator.run("submit", "detect", "--output", "json")
    assert started.returncode == 0, started.stderr
    assert "detect resumes from its newest savepoint, " in started.stderr
    assert json.loads(started.stdout)["starts"]["detect"]["resumes_from"] == found.uri
    jobs.send(operator.stack, events)
    letters = outcomes(operator.stack, "dlq", EVENTS)
    assert {item["reason"] for item in letters} == {"DUPLICATE_TRANSACTION"}
    assert len(letters) == EVENTS
    assert len(jobs.committed(operator.stack, "decisions")) == EVENTS, "no transaction is scored twice"

    told = operator.does("cancel", "detect")
    assert "Its last checkpoint remains" in told
    lost_snapshots_are_refused(operator)

    told = operator.does("demo", "--events", "300", "--no-tty")
    assert "detect resumes from its newest checkpoint, " in told
    assert "streamflow-detect stopped with savepoint file:" in told
    found = newest("detect", place_of(operator.stack.settings()))
    assert found is not None
    with open_snapshot(found.uri) as snapshot:
        remembered = {customer.customer_id for customer in snapshot.customers()}
    assert customers < remembered, "the demo adds its customers to those that were known"
    nothing_is_missing_after(operator, "the demo stopped its jobs, so that their last offsets are not committed")

    operator.does("down")
    operator.does("up", "--taskmanagers", "2")
    nothing_is_missing_after(operator, "no job runs")
    operator.does("submit")
    nothing_is_missing_after(operator, "the jobs run again")
