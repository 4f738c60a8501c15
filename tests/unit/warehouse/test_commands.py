"""Commands of the streaming environment as an orchestrator calls them: the real ones, which fail without a stack."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.warehouse import commands, retraining
from flink_jobs.warehouse.commands import failure, run_streamflow


@pytest.fixture(autouse=True)
def no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path))


def test_a_failure_has_the_message_hint_and_code_of_the_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match="`streamflow status` ended with 2") as error:
        run_streamflow("status")
    assert error.value.what.endswith(f"the stack in {tmp_path} is not up")
    assert error.value.fix == "run `streamflow up`"
    assert error.value.code == ErrorCode.STACK_DOWN
    assert "is not up" in caplog.text


def test_an_environment_that_is_not_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "STREAMFLOW", tmp_path / "none")
    with pytest.raises(UserError, match="make setup") as error:
        run_streamflow("status")
    assert error.value.code == ErrorCode.NOT_INSTALLED


@pytest.mark.parametrize("line", ["", "Segmentation fault", "5", '{"error": 5}', '{"error": {"code": "x"}}'])
def test_a_process_that_leaves_no_error_object_is_reported_with_its_last_line(line: str) -> None:
    error = failure("`streamflow drift` ended with -11", line)
    assert error.what == f"`streamflow drift` ended with -11: {line or 'it printed no error'}"
    assert error.code == ErrorCode.COMMAND_FAILED


def test_training_that_is_asked_for_needs_no_check() -> None:
    assert retraining.judge("always", 90)["train"]
    with pytest.raises(UserError, match="not set: STREAMFLOW_POSTGRES_HOST"):
        retraining.judge("needed", 90)
