"""Where a job in a container of its own begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flink_jobs.flink import resume
from flink_jobs.job.start_point import FRESH, main
from flink_jobs.kafka.lag import ConsumerLag
from tests import golden

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = golden.prefix_of(golden.GOLDEN[-1])


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a container with a new volume for its state; the broker has no consumer group."""
    values = {
        "HOME": tmp_path / "home", "KAFKA_BOOTSTRAP_SERVERS": "h:1", "POSTGRES_HOST": "h", "POSTGRES_PORT": 1,
        "POSTGRES_DATABASE": "d", "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "FLINK_REST_URL": "http://h",
        "CHECKPOINT_DIR": (tmp_path / "state/chk").as_uri(), "SAVEPOINT_DIR": (tmp_path / "state/sp").as_uri(),
        "TOPIC_PREFIX": PREFIX,
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"STREAMFLOW_{name}", str(value))
    monkeypatch.setattr(resume, "consumer_lag", lambda _: [])
    return tmp_path / "state"


def test_the_newest_snapshot_is_printed_and_a_new_volume_has_none(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main("detect") == 0
    assert capsys.readouterr().out == ""
    savepoint = golden.unpack(golden.GOLDEN[-1], state.parent).rename(state / "sp" / "savepoint-1")
    assert main("detect") == 0
    assert capsys.readouterr().out == savepoint.as_uri()
    monkeypatch.setenv(FRESH, "1")
    assert main("detect") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "The states of 40 customers are left behind." in told.err


@pytest.mark.usefixtures("state")
def test_a_volume_that_was_lost_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lag = ConsumerLag(f"{PREFIX}-detect", f"{PREFIX}.transactions", 7, 9)
    monkeypatch.setattr(resume, "consumer_lag", lambda _: [lag])
    assert main("archive") == 0
    assert main("detect") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "there is no snapshot of it" in told.err
    assert f"set {FRESH}=1" in told.err
