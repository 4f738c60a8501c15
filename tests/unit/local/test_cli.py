"""The command line as a whole: help, errors, and that every command it lists is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from flink_jobs.cli import app as cli
from flink_jobs.cli.lazy import Lazy
from flink_jobs.cli.output import duration
from flink_jobs.settings import REPO_ROOT


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFLOW_")}
    env |= {"STREAMFLOW_HOME": str(home), "COLUMNS": "200"}
    command = [sys.executable, "-m", "flink_jobs.cli", *arguments]
    return subprocess.run(command, env=env, cwd=REPO_ROOT, capture_output=True, text=True, timeout=300, check=False)


def present() -> list[str]:
    return [name for name, lazy in cli.COMMANDS.items() if lazy.exists()]


def test_help_lists_every_command_without_importing_any() -> None:
    heavy = ("kafka", "psycopg", "pyflink", "sklearn", "numpy", "pydantic")
    code = (
        "import sys; from flink_jobs.cli.app import main; sys.argv = ['streamflow', '--help']\n"
        f"try: main()\nfinally: print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    env = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=env, cwd=REPO_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "LOADED []" in result.stdout
    for name in present():
        assert cli.COMMANDS[name].help in result.stdout


@pytest.mark.parametrize("name", present())
def test_every_command_loads_and_explains_itself(name: str) -> None:
    command: Any = cli.COMMANDS[name].load(name)
    assert command.name == name
    assert command.help
    for option in command.params:
        assert option.name == "help" or option.opts


def test_a_missing_module_is_no_command() -> None:
    lazy = Lazy("flink_jobs.cli.not_there", "x", "", "")
    assert not lazy.exists()


def test_an_error_is_one_line_with_exit_code_2(tmp_path: Path) -> None:
    result = run(tmp_path, "status")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == f"streamflow: the stack in {tmp_path} is not up. What to do: run `streamflow up`\n"


def test_debug_shows_the_stack_trace(tmp_path: Path) -> None:
    result = run(tmp_path, "--debug", "status")
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(**_: object) -> None:
        message = "some bug"
        raise RuntimeError(message)

    monkeypatch.delenv("STREAMFLOW_DEBUG", raising=False)
    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("streamflow: unexpected RuntimeError: some bug. What to do: ")


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.delenv("STREAMFLOW_DEBUG", raising=False)
    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


def test_unknown_commands_and_options_are_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "nonsense").returncode == 2
    assert run(tmp_path, "up", "--taskmanagers", "0").returncode == 2


def test_down_without_a_stack_is_fine(tmp_path: Path) -> None:
    result = run(tmp_path / "none", "down")
    assert result.returncode == 0
    assert "Nothing was running" in result.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, None), (0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min"), (3600, "1.0 h"), (86400, "1.0 d")],
)
def test_durations(seconds: float | None, text: str | None) -> None:
    assert duration(seconds) == text


def test_commands_are_typer_apps_or_functions() -> None:
    names = present()
    assert {"up", "down", "status", "submit", "savepoint", "jobs", "cancel"} <= set(names)
    assert isinstance(cli.app, typer.Typer)
