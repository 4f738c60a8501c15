"""How commands report errors to programs: one JSON object on standard error."""

from __future__ import annotations

import json

import pytest
import typer

from flink_jobs.cli.app import app
from flink_jobs.cli.failures import run_reporting_errors, wants_json
from flink_jobs.errors import ErrorCode, UserError


@pytest.fixture(autouse=True)
def no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMFLOW_DEBUG", raising=False)


def reported(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, dict[str, str]]:
    def failing(**_: object) -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run_reporting_errors(failing, as_json=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    document = json.loads(line)
    assert document.keys() == {"error"}
    assert document["error"].keys() == {"code", "message", "hint"}
    return end.value.code, document["error"]


def test_a_user_error_is_one_object_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    error = UserError('no "x"', "run y", ErrorCode.STACK_DOWN)
    assert reported(error, capsys) == (2, {"code": "stack_down", "message": 'no "x"', "hint": "run y"})
    assert reported(UserError("a", "b"), capsys)[1]["code"] == "user_error"


def test_a_defect_and_an_interrupt_are_objects_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, error = reported(RuntimeError("boom"), capsys)
    assert (code, error["code"], error["message"]) == (2, "internal_error", "unexpected RuntimeError: boom")
    for cause in (KeyboardInterrupt(), typer.Abort()):
        code, error = reported(cause, capsys)
        assert (code, error["code"]) == (130, "interrupted")


@pytest.mark.parametrize(
    ("words", "named"),
    [(["nonsense"], "nonsense"), (["up", "--taskmanagers", "0"], "taskmanagers"), (["status", "--odd"], "--odd")],
)
def test_a_usage_error_is_an_object_too(
    words: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["streamflow", *words, "--output", "json"])
    with pytest.raises(SystemExit) as end:
        run_reporting_errors(app, as_json=True)
    assert end.value.code == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "usage_error"
    assert named in error["message"]


def test_exit_codes_that_are_answers_stay() -> None:
    for answer in (0, 1, 3, 4):
        one = typer.Typer()

        @one.command()
        def ended(answer: int = answer) -> None:
            raise typer.Exit(answer)

        with pytest.raises(SystemExit) as end:
            run_reporting_errors(lambda one=one, **options: one([], **options), as_json=True)
        assert end.value.code == answer


@pytest.mark.parametrize("words", ["--output json", "-o json", "--output=json", "-ojson"])
def test_json_is_asked_for_in_every_spelling(words: str) -> None:
    assert wants_json(["status", *words.split()])


@pytest.mark.parametrize("words", ["", "--output plain", "--out json", "-o plain"])
def test_other_arguments_do_not_ask_for_json(words: str) -> None:
    assert not wants_json(["status", *words.split()])
