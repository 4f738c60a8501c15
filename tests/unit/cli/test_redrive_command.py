"""The options that ``streamflow dlq redrive`` rejects before it reads a dead letter, and the edits."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.cli.dead_letter_options import letter_filter
from flink_jobs.cli.payload_editing import Edit, edited_payload, recorded_changes
from flink_jobs.errors import UserError

IN_EDITOR = Edit([], None, in_editor=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no dead letter is chosen: name one, give filters such as --reason, or give --all"),
        (["--all", "--set", "a=1"], "an edit applies to one dead letter"),
        (["--all"], "no reason is given: give the reason with --why"),
        (["--all", "--why", " "], "no reason is given"),
        (["--offset", "some"], "--offset some is not a range of offsets"),
        (["--since", "soon"], "--since soon is not a time"),
    ],
)
def test_an_incomplete_command_is_rejected(words: list[str], message: str) -> None:
    answer = CliRunner().invoke(app, ["dlq", "redrive", *words])
    assert isinstance(answer.exception, UserError)
    assert message in str(answer.exception)


@pytest.mark.parametrize(
    "words",
    [
        ["dlq", "redrive", "--all", "--why"],
        ["account", "watch", "c-1", "--reason"],
        ["control", "use-own-blend", "--reason"],
        ["label", "t-1", "--customer", "c-1", "--as", "fraud", "--comment"],
        ["model", "archive", "v1", "--reason"],
        ["model", "register", "v1", "--reason"],
        ["model", "card", "v1", "--reason"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_text_with_a_card_number_is_rejected_before_anything_is_sent(words: list[str]) -> None:
    answer = CliRunner().invoke(app, [*words, "4111 1111 1111 1111 was stolen"])
    assert isinstance(answer.exception, UserError)
    assert "the text has a card number" in str(answer.exception)


@pytest.mark.parametrize(("text", "offsets"), [("42", (42, 42)), ("42-57", (42, 57))])
def test_ranges_of_offsets(text: str, offsets: tuple[int, int]) -> None:
    assert letter_filter(offset=text).offsets == offsets


def test_an_editor_changes_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/-5/5/")
    assert edited_payload(b'{"amount_minor":-5}', IN_EDITOR) == b'{"amount_minor":5}'
    monkeypatch.setenv("EDITOR", "false")
    with pytest.raises(UserError, match="the editor false failed"):
        edited_payload(b"{}", IN_EDITOR)
    monkeypatch.delenv("EDITOR")
    with pytest.raises(UserError, match="no editor is configured: set EDITOR"):
        edited_payload(b"{}", IN_EDITOR)
    with pytest.raises(UserError, match="not UTF-8 text"):
        edited_payload(b"\xff", IN_EDITOR)
    with pytest.raises(UserError, match="cannot be read"):
        edited_payload(b"{}", Edit([], tmp_path / "none", in_editor=False))
    with pytest.raises(UserError, match="--set cannot edit the record: the payload is not a JSON object"):
        edited_payload(b"[", Edit(["a=1"], None, in_editor=False))


@pytest.mark.parametrize("number", [4111111111111111, "4111 1111 1111 1111"])
def test_the_audit_of_an_edit_keeps_no_card_number(number: object) -> None:
    before, after = ({"card": card, "amount_minor": amount} for card, amount in ((number, 1), ("tok-1", 2)))
    assert recorded_changes(orjson.dumps(before), orjson.dumps(after)) == [
        {"path": "amount_minor", "from": 1, "to": 2},
        {"path": "card", "from": "****1111", "to": "tok-1"},
    ]
    nested = recorded_changes(orjson.dumps({"card": {"number": number}}), orjson.dumps({"card": {"number": "tok-1"}}))
    assert nested == [{"path": "card.number", "from": "****1111", "to": "tok-1"}]
