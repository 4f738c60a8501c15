"""What `streamflow dlq redrive` refuses before it looks at any letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.cli.letter_options import letter_filter
from flink_jobs.cli.redrive_command import _edited
from flink_jobs.errors import UserError


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no letter is chosen: name one, give filters such as --reason, or --all"),
        (["--all", "--set", "a=1"], "an edit is of one letter"),
        (["--all"], "no reason is given: say why with --why"),
        (["--all", "--why", " "], "no reason is given"),
        (["--offset", "some"], "--offset some is no range of offsets"),
        (["--since", "soon"], "--since soon is not a time"),
    ],
)
def test_a_command_that_says_too_little_is_refused(words: list[str], told: str) -> None:
    answer = CliRunner().invoke(app, ["dlq", "redrive", *words])
    assert isinstance(answer.exception, UserError)
    assert told in str(answer.exception)


@pytest.mark.parametrize(("text", "offsets"), [("42", (42, 42)), ("42-57", (42, 57))])
def test_ranges_of_offsets(text: str, offsets: tuple[int, int]) -> None:
    assert letter_filter(offset=text).offsets == offsets


def test_an_editor_changes_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/-5/5/")
    assert _edited(b'{"amount_minor":-5}', None, None) == b'{"amount_minor":5}'
    monkeypatch.setenv("EDITOR", "false")
    with pytest.raises(UserError, match="false did not end well"):
        _edited(b"{}", None, None)
    monkeypatch.delenv("EDITOR")
    with pytest.raises(UserError, match="no editor is named: set EDITOR"):
        _edited(b"{}", None, None)
    with pytest.raises(UserError, match="no text in UTF-8"):
        _edited(b"\xff", None, None)
    with pytest.raises(UserError, match="cannot be read"):
        _edited(b"{}", None, tmp_path / "none")
    with pytest.raises(UserError, match="cannot be edited so: the payload is not a JSON object"):
        _edited(b"[", ["a=1"], None)
