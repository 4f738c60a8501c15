"""What `down` reports about the jobs, whatever of the stack is dead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from flink_jobs.errors import UserError
from flink_jobs.local import process
from flink_jobs.local.job_state import deleted, keep_state
from flink_jobs.local.ports import free_ports
from flink_jobs.local.process import ProcessRecord
from flink_jobs.local.record import StackRecord
from flink_jobs.settings import Settings
from tests import golden
from tests.fake_flink import ID, FakeFlink, serving


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    with serving() as fake:
        yield fake


def record(tmp_path: Path, *alive: str, dead: tuple[str, ...] = ()) -> StackRecord:
    """A record whose live processes are this very one."""
    ticks = process.start_ticks(os.getpid())
    assert ticks is not None
    me = ProcessRecord("", os.getpid(), ticks, process.boot_id(), "")
    found = {name: replace(me, name=name) for name in alive}
    found |= {name: replace(me, name=name, start_ticks=-1) for name in dead}
    return StackRecord(tmp_path / "stack.json", processes=found)


def settings(tmp_path: Path, url: str) -> Settings:
    for name in ("chk", "sp"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Settings(
        kafka_bootstrap_servers="h:1", postgres_host="h", postgres_port=1, postgres_database="d", postgres_user="u",
        postgres_password=SecretStr("p"), flink_rest_url=url, checkpoint_dir=(tmp_path / "chk").as_uri(),
        savepoint_dir=(tmp_path / "sp").as_uri(), topic_prefix=golden.prefix_of(golden.GOLDEN[-1]),
    )  # fmt: skip


def told(found: StackRecord, given: Settings | UserError) -> list[str]:
    lines: list[str] = []

    def load() -> Settings:
        if isinstance(given, UserError):
            raise given
        return given

    keep_state(found, load, 5, lines.append)
    return lines


def with_savepoint(tmp_path: Path) -> Path:
    folder = golden.unpack(golden.GOLDEN[-1], tmp_path).rename(tmp_path / "sp" / "savepoint-1")
    (folder / "_metadata").touch()
    return folder


def test_jobs_are_stopped_with_a_savepoint(fake: FakeFlink, tmp_path: Path) -> None:
    fake.runs("streamflow-detect")
    fake.answers[f"POST /jobs/{ID}/stop"] = {"request-id": "t"}
    done = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/sp/1"}}
    fake.answers[f"GET /jobs/{ID}/savepoints/t"] = done
    fake.job(["FINISHED"])
    lines = told(record(tmp_path, "jobmanager", "taskmanager-1", "kafka"), settings(tmp_path, fake.url))
    assert lines == [
        "Stopping streamflow-detect with a savepoint (within 5 s) ...",
        "streamflow-detect stopped with savepoint file:/sp/1",
    ]


@pytest.mark.parametrize(("dead", "why"), [("kafka", "Kafka does not run"), ("taskmanager-1", "no TaskManager runs")])
def test_with_a_dead_server_the_last_checkpoint_is_reported_at_once(
    fake: FakeFlink, tmp_path: Path, dead: str, why: str
) -> None:
    fake.runs("streamflow-detect")
    fake.answers[f"PATCH /jobs/{ID}?mode=cancel"] = {}
    fake.answers[f"GET /jobs/{ID}/checkpoints"] = {"latest": {"completed": {"external_path": "file:/chk/3"}}}
    fake.job(["CANCELED"])
    alive = {"jobmanager", "taskmanager-1", "kafka"} - {dead}
    lines = told(record(tmp_path, *alive, dead=(dead,)), settings(tmp_path, fake.url))
    assert lines == [f"streamflow-detect stopped without a savepoint ({why}); its last checkpoint is kept: file:/chk/3"]


@pytest.mark.parametrize("state", ["dead", "silent"])
def test_with_a_dead_or_silent_jobmanager_the_newest_snapshots_are_reported(tmp_path: Path, state: str) -> None:
    nowhere = settings(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}")
    kept = with_savepoint(tmp_path)
    found = record(tmp_path, dead=("jobmanager",)) if state == "dead" else record(tmp_path, "jobmanager")
    lines = told(found, nowhere)
    assert lines[0] == "No savepoint was taken: the JobManager does not answer."
    assert lines[1].startswith("detect: its newest savepoint is kept, ")
    assert lines[1].endswith(kept.as_uri())
    assert len(lines) == 2


def test_settings_that_cannot_be_read_do_not_stop_a_down(tmp_path: Path) -> None:
    lines = told(record(tmp_path, "jobmanager"), UserError("cannot read stack.env", "x"))
    assert lines == ["No savepoint was taken: cannot read stack.env. Checkpoints are kept."]


def test_a_stack_without_flink_has_nothing_to_report(tmp_path: Path) -> None:
    assert told(record(tmp_path, "kafka"), UserError("x", "y")) == []


def test_a_wipe_counts_the_customers_it_deletes(tmp_path: Path) -> None:
    found = settings(tmp_path, "http://127.0.0.1:1")
    assert deleted(found) == "No customer's state was stored in it."
    folder = with_savepoint(tmp_path)
    assert deleted(found) == "The states of 40 customers are deleted with it."
    next(path for path in folder.iterdir() if path.name != "_metadata").unlink()
    assert "an unknown number of customers are deleted with it (the newest snapshot cannot be" in deleted(found)
