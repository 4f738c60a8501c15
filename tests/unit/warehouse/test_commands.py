"""Commands of the streaming environment as an orchestrator calls them: the real ones, which fail without a stack."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from flink_jobs.warehouse import commands, retraining
from flink_jobs.warehouse.commands import run_streamflow


@pytest.fixture(autouse=True)
def no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path))


def test_a_failure_is_told_in_the_commands_own_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match="`streamflow status` ended with 2") as error:
        run_streamflow("status")
    assert error.value.what.endswith(f"the stack in {tmp_path} is not up")
    assert error.value.fix == "run `streamflow up`"
    assert "is not up" in caplog.text


def test_an_environment_that_is_not_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "STREAMFLOW", tmp_path / "none")
    with pytest.raises(UserError, match="make setup"):
        run_streamflow("status")


def test_training_that_is_asked_for_needs_no_check() -> None:
    assert retraining.judge("always", 90)["train"]
    with pytest.raises(UserError, match="not set: STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS"):
        retraining.judge("needed", 90)
