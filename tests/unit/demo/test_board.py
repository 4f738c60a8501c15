from __future__ import annotations

import json
from typing import Any

import pytest

from flink_jobs.demo import board as board_module
from flink_jobs.demo.board import Board
from flink_jobs.kafka.consumer import Record
from flink_jobs.kafka.outgoing import Fate, Outgoing
from flink_jobs.traffic.sender_metrics import TrafficMetrics

RUN = "demo-1-"
TOPIC = "streamflow.transactions"


class Clock:
    """Stands in for the ``time`` module; both clocks show the same seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(board_module, "time", clock)
    return clock


@pytest.fixture
def board(clock: Clock) -> Board:
    assert clock.now
    return Board("streamflow", RUN, wanted=10, metrics=TrafficMetrics())


def deliver(board: Board, offset: int, fate: Fate = Fate.DECIDED) -> None:
    """Go through what a replay does for one record."""
    record = Outgoing(b"c", b"{}", 0, fate, f"t{offset}")
    board.sending(record)
    board.ledger.add(record, 0, offset)
    board.delivered(record, 0, offset)


def decision(offset: int, *, is_alert: bool = False, processing_time_ms: int = 0, topic: str = TOPIC) -> Record:
    place = {"source": {"topic": topic, "partition": 0, "offset": offset}}
    return output("decisions", {**ids(offset, processing_time_ms), **place, "is_alert": is_alert, "model": "ok"})


def ids(offset: int, processing_time_ms: int) -> dict[str, Any]:
    return {
        "customer_id": f"{RUN}c", "transaction_id": f"t{offset}", "processing_time_ms": processing_time_ms,
    }  # fmt: skip


def alert(offset: int) -> Record:
    more = {
        "merchant": "Shop",
        "amount_minor": 1234,
        "currency": "USD",
        "score": 0.9,
        "reasons": [{"code": "VELOCITY"}],
    }
    return output("alerts", {**ids(offset, 0), **more})


def duplicate(offset: int) -> Record:
    place = {"topic": TOPIC, "partition": 0, "offset": offset}
    return output("dlq", {**place, "disposition": "duplicate", "reason": "DUPLICATE_TRANSACTION"})


def output(suffix: str, document: dict[str, Any]) -> Record:
    return Record(f"streamflow.{suffix}", 0, 0, 0, None, json.dumps(document).encode())


def test_latency_runs_from_sending_to_reading(board: Board, clock: Clock) -> None:
    deliver(board, 5)
    clock.now += 2.0
    board.take(decision(5, processing_time_ms=1_000_250), clock.time())
    latencies = board.latencies()
    assert latencies.readable.p50_ms == pytest.approx(2_000.0)
    assert latencies.decision.p50_ms == pytest.approx(250.0)


def test_an_outcome_before_its_delivery_report_is_kept(board: Board, clock: Clock) -> None:
    board.take(decision(5), clock.time())
    assert board.snapshot().decided == 0
    deliver(board, 5)
    board.take_early()
    assert board.snapshot().decided == 1
    assert board.outcomes.foreign == 0


def test_outcomes_of_other_runs_are_not_counted(board: Board, clock: Clock) -> None:
    deliver(board, 5)
    board.take(decision(4), clock.time())  # before the run's first offset: an earlier run's
    board.take(decision(5, topic="other.transactions"), clock.time())
    board.take(decision(9), clock.time())  # not known yet: perhaps ours
    assert board.outcomes.foreign == 2
    board.all_sent = True
    board.take_early()
    assert board.outcomes.foreign == 3
    assert board.snapshot().decided == 0


def test_a_second_outcome_is_counted_as_repeated(board: Board, clock: Clock) -> None:
    deliver(board, 5)
    board.take(decision(5), clock.time())
    board.take(decision(5), clock.time())
    assert [at for at, _ in board.outcomes.repeated] == [(0, 5)]
    assert board.latencies().readable.count == 1


def test_the_run_is_complete_when_every_record_has_its_outcome_and_alerts(board: Board, clock: Clock) -> None:
    deliver(board, 5)
    deliver(board, 6, Fate.DUPLICATE)
    board.take(decision(5, is_alert=True), clock.time())
    board.take(duplicate(6), clock.time())
    assert not board.is_complete(), "more may be sent"
    board.all_sent = True
    assert not board.is_complete(), "the alert is missing"
    board.take(alert(5), clock.time())
    assert board.first_alert_s == clock.time()
    assert board.is_complete()


def test_a_snapshot_adds_up(board: Board, clock: Clock) -> None:
    for offset, fate in enumerate((Fate.DECIDED, Fate.DUPLICATE, Fate.DECIDED)):
        deliver(board, offset, fate)
    board.snapshot()
    clock.now += 1.0
    board.take(decision(0, is_alert=True), clock.time())
    board.take(duplicate(1), clock.time())
    board.take(alert(0), clock.time())
    shown = board.snapshot()
    assert (shown.sent, shown.good, shown.decided, shown.duplicates, shown.lag) == (3, 2, 1, 1, 1)
    assert shown.decided_rate == pytest.approx(1.0)
    assert shown.reasons == {"DUPLICATE_TRANSACTION": 1}
    assert [(item.customer, item.reasons) for item in shown.latest] == [("c", ("VELOCITY",))]


def test_the_replay_ends_when_the_board_ends(board: Board) -> None:
    assert not board.wants_end()
    board.end.set()
    assert board.wants_end()
