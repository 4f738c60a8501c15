"""Progress reports of sending commands, and a replay that ends in the middle."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from flink_jobs.cli import traffic_sending
from flink_jobs.cli.output import Output
from flink_jobs.cli.traffic_sending import Sending, progress_report, send
from flink_jobs.errors import UserError
from flink_jobs.kafka.outgoing import Outgoing
from flink_jobs.traffic.balance import Balance
from flink_jobs.traffic.ledger import SentLedger
from flink_jobs.traffic.replay import ReplayPlan


def test_progress_for_programs_is_one_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress_report(log_json=True)("delivered", "     1,000 delivered", records=1_000, per_s=250.0)
    out, err = capsys.readouterr()
    assert out == "", "standard output is for results"
    line = json.loads(err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "delivered", "level": "info", "records": 1_000, "per_s": 250.0}


def test_progress_for_people_is_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("flink_jobs.cli.traffic_sending.say", said.append)
    progress_report(log_json=False)("delivered", "1,000 delivered", records=1_000)
    assert said == ["1,000 delivered"]


def test_a_replay_that_ends_in_the_middle_accounts_for_the_records_it_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account comes first; then the error states how many records were sent."""
    told: list[Any] = []

    def breaks(_events: object, *_options: object, ledger: SentLedger, **_more: object) -> None:
        for number in range(3):
            ledger.add(Outgoing(b"c", b"{}", number), 0, number)
        raise UserError("cards.csv, row 5: 'oops' is not a number", "correct the row")

    def accounts(_broker: object, _prefix: str, ledger: SentLedger, **_more: object) -> Balance:
        told.append(f"account of {ledger.sent}")
        return Balance(ledger.sent, ledger.sent, 0, 0)

    monkeypatch.setattr(traffic_sending, "send_events", breaks)
    monkeypatch.setattr(traffic_sending, "await_balance", accounts)
    monkeypatch.setattr(traffic_sending, "output_ends", lambda _broker, _prefix: {})
    settings = SimpleNamespace(broker=lambda _name: None, topic_prefix="p", metrics_host="127.0.0.1")
    monkeypatch.setattr(traffic_sending, "load_settings", lambda: settings)
    monkeypatch.setattr(traffic_sending, "emit", lambda _output, result, _plain: told.append(result["account"]["sent"]))
    sending = Sending(ReplayPlan(), None, 20.0, 0, Output.JSON, progress_report(log_json=False))
    with pytest.raises(UserError, match="row 5: 'oops' is not a number; 3 records were sent before"):
        send([], sending)
    assert told == ["account of 3", 3]
