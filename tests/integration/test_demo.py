"""The demo as a user starts it: its process, exit code and ledger, and the state it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.kafka.topics import create_topics
from flink_jobs.local import process
from flink_jobs.local.record import StackRecord
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.stack_folder import stack_folder

pytestmark = [pytest.mark.stack, pytest.mark.slow]

DEMO = [sys.executable, "-P", "-m", "tests.quick_jvms", "demo", "--no-tty", "--output", "json"]
LIMIT_S = 900


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield a folder for a stack; stop the stack if the test did not."""
    with stack_folder("demo") as folder:
        stack = Stack(folder / "home")
        try:
            yield stack.home.root
        finally:
            stack.down(wipe=True)


def environment(home: Path, model_dir: Path, **more: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFLOW_")}
    tools = {name: value for name, value in os.environ.items() if name == "STREAMFLOW_TOOLS_DIR"}
    return {**others, **tools, "STREAMFLOW_HOME": str(home), "STREAMFLOW_MODEL_DIR": str(model_dir), **more}


def fates(account: dict[str, Any]) -> tuple[int, int, int]:
    return account["decided"], account["rejected"], account["duplicates"]


def test_the_demo_starts_everything_accounts_for_every_record_and_leaves_nothing(home: Path, model_dir: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--events", "2000"], env=environment(home, model_dir), cwd=REPO_ROOT, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    result = json.loads(done.stdout)
    sent = result["sent"]["fates"]
    assert sent["decided"] == 2_000
    assert min(sent.values()) > 0, "no malformed record was sent"
    assert fates(result["kafka"]) == fates(result["postgres"]) == (2_000, sent["rejected"], sent["duplicate"])
    assert result["kafka"]["alerts"] == result["postgres"]["alerts"] > 0
    assert result["kafka"]["degraded"] == 0, "the model was not used"
    assert result["latency"]["readable"]["count"] == 2_000
    assert (result["balanced"], result["interrupted"], result["exit_code"]) == (True, False, 0)

    assert "Labels: 2,000 sent, 7 days after their transactions." in done.stderr, (
        "the archive did not write every label"
    )

    record = StackRecord.load(home / "stack.json")
    assert process.marked(record.stack_id) == [], "processes were left behind"
    assert record.processes == {}
    log = [json.loads(line) for line in (home / "logs" / "demo.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in log] == ["demo_started", "demo_account"]


def test_an_interrupted_demo_reconciles_its_ledger_and_keeps_a_stack_that_was_running(
    stack: Stack, model_dir: Path
) -> None:
    prefix = "demo-test"  # its own topics on the stack that all tests share
    create_topics(stack.settings().broker(), prefix)
    before = {item.name: item.pid for item in stack.status()}
    demo = subprocess.Popen(
        [*DEMO, "--events", "1000000", "--rate", "200"],
        env=environment(stack.home.root, model_dir, STREAMFLOW_TOPIC_PREFIX=prefix),
        cwd=REPO_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        seen = _read_until(demo, "  decided ")
        demo.send_signal(signal.SIGINT)
        answer, errors = demo.communicate(timeout=LIMIT_S)
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(timeout=300)
    assert demo.returncode == 0, seen + errors[-3_000:]
    result = json.loads(answer)
    assert (result["balanced"], result["interrupted"]) == (True, True)
    assert 0 < result["sent"]["sent"] < 1_000_000
    assert fates(result["kafka"]) == fates(result["postgres"])
    assert {item.name: item.pid for item in stack.status()} == before, (
        "the stack ran before the demo and must still run"
    )
    # Flink lists a job for a moment after it has ended.
    wait_for(lambda: not stack.rest().active_jobs(), limit_s=60, what="an end of the demo's own jobs")


def _read_until(demo: subprocess.Popen[str], text: str) -> str:
    """Return the demo's output up to the line that contains ``text`` followed by a number above zero."""
    assert demo.stderr is not None
    seen = ""
    for line in demo.stderr:
        seen += line
        if text in line and not line.partition(text)[2].startswith("0 "):
            return seen
    pytest.fail(f"the demo ended early: {seen[-3_000:]}")
