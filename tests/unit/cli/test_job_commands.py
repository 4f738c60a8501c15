"""`submit`, `cancel` and `down`: what they refuse and report about state, against a server that answers like Flink."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flink_jobs.cli import job_commands
from flink_jobs.cli.job_commands import cancel, submit
from flink_jobs.cli.savepoint_clean import clean
from flink_jobs.errors import UserError
from flink_jobs.flink.admission import TOPIC_PREFIX
from flink_jobs.flink.submit import Submission
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from tests import golden
from tests.fake_flink import ID, FakeFlink, serving

PREFIX = golden.prefix_of(golden.GOLDEN[-1])


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFlink]:
    """A cluster with two free slots and no job, and settings that lead to it."""
    for name in ("chk", "sp", "home"):
        (tmp_path / name).mkdir()
    with serving() as fake:
        fake.offers(2)
        fake.answers["GET /jobs/overview"] = {"jobs": []}
        values = {
            "HOME": tmp_path / "home", "KAFKA_BOOTSTRAP_SERVERS": "h:1", "POSTGRES_HOST": "h", "POSTGRES_PORT": 1,
            "POSTGRES_DATABASE": "d", "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "FLINK_REST_URL": fake.url,
            "CHECKPOINT_DIR": (tmp_path / "chk").as_uri(), "SAVEPOINT_DIR": (tmp_path / "sp").as_uri(),
            "TOPIC_PREFIX": PREFIX, "MODEL_DIR": tmp_path / "models",
        }  # fmt: skip
        for name, value in values.items():
            monkeypatch.setenv(f"STREAMFLOW_{name}", str(value))
        yield fake


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[Submission]:
    """The jobs that were handed to Flink's client; none starts."""
    found: list[Submission] = []

    def submit_job(_client: object, _rest: object, submission: Submission) -> str:
        found.append(submission)
        return ID

    monkeypatch.setattr(job_commands, "submit_job", submit_job)
    monkeypatch.setattr(Stack, "flink_client", lambda _stack: None)
    return found


def run(command: Callable[..., object], *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, UserError):
        return 2, str(result.exception)
    return result.exit_code, " ".join(result.output.split())


def savepoint(tmp_path: Path) -> Path:
    return golden.unpack(golden.GOLDEN[-1], tmp_path).rename(tmp_path / "sp" / "savepoint-1")


def test_submit_restores_the_newest_snapshot_and_reports_it(
    fake: FakeFlink, submitted: list[Submission], tmp_path: Path
) -> None:
    found = savepoint(tmp_path)
    code, told = run(submit)
    assert code == 0
    assert {item.script.stem: item.from_savepoint for item in submitted} == {"detect": found.as_uri(), "archive": None}
    assert "detect resumes from its newest savepoint, " in told
    assert "archive starts without state: it has no completed checkpoint or savepoint yet." in told
    assert fake.requests


def test_submit_fresh_counts_what_it_leaves_behind(
    fake: FakeFlink, submitted: list[Submission], tmp_path: Path
) -> None:
    savepoint(tmp_path)
    code, told = run(submit, "detect", "--fresh", "--output", "json")
    assert code == 0
    assert [item.from_savepoint for item in submitted] == [None]
    assert "The states of 40 customers are left behind." in told
    assert '"customers_left_behind": 40' in told
    assert fake.requests


def test_a_named_savepoint_and_fresh_exclude_each_other(fake: FakeFlink, submitted: list[Submission]) -> None:
    assert run(submit, "detect", "--fresh", "--from-savepoint", "file:/sp")[0] == 2
    assert run(submit, "--from-savepoint", "file:/sp")[0] == 2
    assert submitted == []
    assert fake.requests == []


def test_nothing_is_submitted_without_slots_or_beside_a_job_that_runs(
    fake: FakeFlink, submitted: list[Submission]
) -> None:
    fake.offers(1)
    code, told = run(submit)
    assert (code, submitted) == (2, [])
    assert told == "detect and archive need 2 task slots, 1 is free: run `streamflow up --taskmanagers 2`"
    fake.runs("streamflow-archive", **{TOPIC_PREFIX: PREFIX})
    code, told = run(submit)
    assert (code, submitted) == (2, [])
    assert told.startswith(f"archive is RUNNING already as job {ID}, in consumer group {PREFIX}-archive; ")


def test_a_second_submit_waits_for_the_first_and_is_refused(fake: FakeFlink, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "flink_jobs.cli", "submit", "archive"]
    with Stack(tmp_path / "home").submitting():
        second = subprocess.Popen(command, cwd=REPO_ROOT, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        told = second.stderr.readline()
        fake.runs("streamflow-archive", **{TOPIC_PREFIX: PREFIX})
    _, errors = second.communicate(timeout=120)
    assert "Another streamflow command is submitting jobs to this stack; waiting for it" in f"{told} {errors}", (
        "it did not wait"
    )
    assert second.returncode == 2
    assert f"archive is RUNNING already as job {ID}" in " ".join(errors.split())


def test_an_unreadable_snapshot_keeps_every_job_from_starting(
    fake: FakeFlink, submitted: list[Submission], tmp_path: Path
) -> None:
    (savepoint(tmp_path) / "_metadata").write_bytes(b"nonsense")
    code, told = run(submit, "detect")
    assert (code, submitted) == (2, [])
    assert "--fresh" in told
    assert fake.requests


@pytest.mark.parametrize("path", ["file:/chk/9", None])
def test_cancel_reports_the_checkpoint_that_remains(fake: FakeFlink, path: str | None) -> None:
    fake.runs("streamflow-detect")
    fake.answers[f"PATCH /jobs/{ID}?mode=cancel"] = {}
    fake.job(["CANCELED"])
    completed = path and {"external_path": path, "latest_ack_timestamp": 1}
    fake.answers[f"GET /jobs/{ID}/checkpoints"] = {"latest": {"completed": completed}}
    code, told = run(cancel)
    assert code == 0
    assert ("Its last checkpoint remains" in told) == (path is not None)
    assert (path or "It completed no checkpoint") in told


def test_clean_deletes_only_on_request_and_needs_to_know_which_jobs_run(fake: FakeFlink, tmp_path: Path) -> None:
    old = savepoint(tmp_path)
    golden.unpack(golden.GOLDEN[-1], tmp_path).rename(tmp_path / "sp" / "savepoint-2")
    fake.answers["GET /jobs/overview"] = {"jobs": []}
    code, told = run(clean, "--keep", "1")
    assert code == 0
    assert "1 may be deleted" in told
    assert old.exists()
    code, told = run(clean, "--keep", "1", "--delete")
    assert code == 0
    assert "Deleted 1 (" in told
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "sp").iterdir()) == ["deleted.jsonl", "savepoint"]
