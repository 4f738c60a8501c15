"""``label`` refuses impossible times and unknown labels, states what was sent before, and skips bad rows on request."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import label_command
from flink_jobs.cli.app import app
from flink_jobs.core.label import Label
from flink_jobs.errors import UserError


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Label]:
    """The labels that would be sent."""
    found: list[Label] = []

    def send_labels(_broker: object, _prefix: str, labels: Iterable[Label], _progress: object = None) -> int:
        found.extend(labels)
        return len(found)

    settings = SimpleNamespace(broker=lambda *_: None, topic_prefix="p")
    monkeypatch.setattr(label_command, "load_settings", lambda: settings)
    monkeypatch.setattr(label_command, "send_labels", send_labels)
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    return found


def test_an_unknown_label_is_an_error_that_states_what_was_sent_or_is_skipped(
    sent: list[Label], tmp_path: Path
) -> None:
    path = tmp_path / "cards.csv"
    path.write_text("id,cust,ts,amt,fraud\nt1,c,1704067200,1,1.0\nt2,c,1704067260,1,Y\nt3,c,1704067320,1,?\n")
    (tmp_path / "cards.mapping.yaml").write_text(
        "fields: {transaction_id: id, customer_id: cust, amount: {column: amt, unit: major}, "
        "event_time: {column: ts, format: unix_s}}\nlabel: {column: fraud}\n"
    )
    command = ["label", "--from-file", str(path), "--by", "t"]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, UserError)
    assert "neither fraud nor genuine: '?' (1 times); up to 2 labels were sent before" in error.what
    assert "a label that arrives twice counts once" in error.fix
    sent.clear()
    told = CliRunner().invoke(app, [*command, "--skip-bad-rows"])
    assert told.exit_code == 0
    assert [(item.transaction_id, item.label) for item in sent] == [("t1", "fraud"), ("t2", "fraud")]
    assert "1 rows were skipped (unknown_label 1)" in " ".join(told.output.split())


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        ("9999-12-31T00:00:00Z", "labelled_at_ms is more than a day in the future"),
        ("1970-01-20T17:21:07Z", "labelled_at_ms is before 2000-01-01"),
    ],
)
def test_a_label_time_that_cannot_be_is_refused(sent: list[Label], at: str, problem: str) -> None:
    result = CliRunner().invoke(app, ["label", "a1-0", "--customer", "a1c", "--as", "fraud", "--at", at, "--by", "t"])
    assert isinstance(result.exception, UserError)
    assert problem in result.exception.what
    assert sent == []


def test_one_label_names_terminal_and_card_in_the_form_of_the_decision(sent: list[Label]) -> None:
    command = ["label", "t-1", "--customer", "c-1", "--as", "fraud", "--by", "t", "--terminal", "till-4"]
    card = ["--card", "4111 1111 1111 1111"]
    result = CliRunner().invoke(app, [*command, *card])
    assert isinstance(result.exception, UserError)
    assert "event_time_ms must be given with merchant, terminal, device or card" in result.exception.what
    result = CliRunner().invoke(app, [*command, "--device", "d" * 129, "--event-time", "2026-01-01T10:00:00Z"])
    assert isinstance(result.exception, UserError)
    assert "device must be 1 to 128 characters" in result.exception.what
    assert sent == []
    result = CliRunner().invoke(app, [*command, *card, "--event-time", "2026-01-01T10:00:00Z"])
    assert result.exit_code == 0
    assert [(item.terminal, item.device, item.card, item.event_time_ms) for item in sent] == [
        ("till-4", None, "****1111", 1_767_261_600_000)
    ]
