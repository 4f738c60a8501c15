"""Thread and process mode of the detector, and configurations that ``submit`` rejects before a job starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.integration import avro_client, jobs
from tests.registry_server import RegistryServer
from tests.unit.job.samples import write_model

UNASKED = Path(__file__).parent / "process_mode_unasked.py"
EVENTS = 300
AVRO = 20
# Fields that differ by design between two runs: times and coordinates.
OF_THE_RUN = ("processing_time_ms", "source")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder, "v1")
    return folder


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


def settings_of(stack: Stack, models: Path, mode: str, prefix: str, registry: str | None = None) -> dict[str, str]:
    schemas = {} if registry is None else {"STREAMFLOW_SCHEMA_REGISTRY": registry}
    return schemas | {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
        "STREAMFLOW_MODEL_DIR": str(models),
        "STREAMFLOW_MODEL_VERSION": "v1",
        "STREAMFLOW_EXECUTION_MODE": mode,
        "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, prefix),
    }


def descendants(pid: int) -> Iterator[str]:
    """Yield the command lines of all descendants of a process."""
    listing = subprocess.run(["/bin/ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    children = defaultdict[int, list[tuple[int, str]]](list)
    for line in listing.splitlines():  # in no order: pids begin again after the largest one
        child, parent, arguments = line.split(None, 2)
        children[int(parent)].append((int(child), arguments))
    found = [(pid, "")]
    for number, _ in found:  # grows meanwhile
        found += children[number]
    yield from (arguments for _, arguments in found[1:])


def test_both_modes_give_the_same_decisions_and_thread_mode_starts_no_process(
    stack: Stack, models: Path, registry: RegistryServer
) -> None:
    """Process mode is slower and gives the same decisions. Thread mode runs inside the TaskManager's JVM.

    A Confluent client sends Avro beside JSON. Process mode routes it by SQL, thread mode in Java.
    """
    decided: dict[str, dict[str, dict[str, Any]]] = {}
    below: dict[str, list[str]] = {}
    for mode in ("thread", "process"):
        prefix = f"mode-{mode}"
        avro_client.register(registry, prefix)
        with jobs.running_job(stack, "detect", settings_of(stack, models, mode, prefix, registry.url)) as job_id:
            ledger = jobs.send(stack, jobs.card_events("modes", EVENTS), prefix=prefix)
            balance = jobs.account(stack, ledger, prefix)
            assert balance.is_as_expected, "\n".join(balance.lines())
            avro_client.send(stack, registry.url, prefix)
            wait_for(lambda: len(jobs.committed(stack, "decisions", prefix)) == EVENTS + AVRO, limit_s=240, what="Avro")  # noqa: B023
            letters = avro_client.dead_letters(stack, prefix)
            assert letters == avro_client.REASONS
            assert stack.rest().failures(job_id) == []
            taskmanagers = [item.pid for item in stack.status() if item.name.startswith("taskmanager")]
            below[mode] = [line for pid in taskmanagers for line in descendants(pid)]
        decided[mode] = {
            item["transaction_id"]: {name: value for name, value in item.items() if name not in OF_THE_RUN}
            for item in jobs.committed(stack, "decisions", prefix)
        }

    assert len(decided["thread"]) == EVENTS + AVRO
    assert {item["model"] for item in decided["thread"].values()} == {"ok"}
    assert decided["thread"] == decided["process"]
    assert below["thread"] == [], "PyFlink starts a gateway's JVM for some calls"
    assert [line for line in below["process"] if "beam" in line], (
        "the test must see the processes that a TaskManager starts"
    )


def test_an_unexpected_mode_fails_with_a_clear_message(stack: Stack, models: Path) -> None:
    """Process mode opens a function with its first event, so the job starts and fails then."""
    environment = settings_of(stack, models, "thread", "mode-unasked")
    rest = stack.rest()
    job_id = jobs.start_job(stack, "detect", environment, script=UNASKED)
    try:
        jobs.send(stack, jobs.card_events("unasked", 1), prefix="mode-unasked")
        failure = wait_for(lambda: next(iter(rest.failures(job_id)), None), limit_s=240, what="the job to fail")
    finally:
        rest.cancel(job_id)

    assert "the detector runs in process mode, not in thread mode as configured" in failure.stacktrace
    assert "STREAMFLOW_EXECUTION_MODE" in failure.stacktrace


def submit(stack: Stack, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `streamflow submit` against the stack."""
    env = {**os.environ, "STREAMFLOW_HOME": str(stack.home.root)}
    env |= {f"STREAMFLOW_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "flink_jobs.cli", "submit", *arguments]
    return subprocess.run(command, env=env, cwd=REPO_ROOT, capture_output=True, text=True, timeout=600, check=False)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one error line that the user sees."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Submitting")]
    return " ".join(" ".join(lines).split())


def test_a_transaction_timeout_above_the_brokers_limit_is_rejected(stack: Stack) -> None:
    before = len(stack.rest().jobs())

    told = refusal(submit(stack, "detect", TRANSACTION_TIMEOUT_MS="99999999"))

    assert "STREAMFLOW_TRANSACTION_TIMEOUT_MS is 99999999, but the broker allows" in told
    assert "lower it, or raise the broker's transaction.max.timeout.ms" in told
    assert len(stack.rest().jobs()) == before


@pytest.mark.parametrize("job", ["detect", "archive"])
def test_a_broker_that_does_not_answer_is_an_error(stack: Stack, job: str) -> None:
    before = len(stack.rest().jobs())

    told = refusal(submit(stack, job, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9"))

    assert "no Kafka broker answers at 127.0.0.1:9" in told
    assert "STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS" in told
    assert len(stack.rest().jobs()) == before


def test_a_database_that_rejects_the_archives_login_is_an_error(stack: Stack) -> None:
    before = len(stack.rest().jobs())

    told = refusal(submit(stack, "archive", POSTGRES_WRITER_PASSWORD="wrong"))

    assert "the archive job cannot connect to Postgres" in told
    assert "run `streamflow up`, or set STREAMFLOW_POSTGRES_*" in told
    assert "wrong" not in told
    assert len(stack.rest().jobs()) == before
