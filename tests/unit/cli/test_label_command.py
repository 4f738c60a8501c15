"""``label`` refuses a time at which no label can have become known; nothing is sent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import label_command
from flink_jobs.cli.app import app
from flink_jobs.errors import UserError


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        ("9999-12-31T00:00:00Z", "labelled_at_ms is more than a day in the future"),
        ("1970-01-20T17:21:07Z", "labelled_at_ms is before 2000-01-01"),
    ],
)
def test_a_label_time_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, at: str, problem: str) -> None:
    settings = SimpleNamespace(broker=lambda *_: None, topic_prefix="p")
    monkeypatch.setattr(label_command, "load_settings", lambda: settings)
    monkeypatch.setattr(label_command, "send_labels", lambda *_: pytest.fail("a label was sent"))
    result = CliRunner().invoke(app, ["label", "a1-0", "--customer", "a1c", "--as", "fraud", "--at", at, "--by", "t"])
    assert isinstance(result.exception, UserError)
    assert problem in result.exception.what
