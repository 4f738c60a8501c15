"""A replay that ends in the middle can be continued: nothing is sent twice, and changed rows are noticed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Self

import pytest

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.cli.traffic_sending import interrupted
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.traffic import replay as replay_module
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.traffic.replay import ReplayPlan, replay
from flink_jobs.traffic.resume import ResumeRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flink_jobs.kafka.outgoing import Outgoing

FAULTS = FaultPlan(malformed=0.2, duplicates=0.1, late=0.1, max_delay=5)


class InstantProducer:
    """Delivers each record at once."""

    sent: list[bytes | None]

    def __init__(self, _broker: Broker, _topic: str, on_delivered: Callable[[Outgoing, int, int], None]) -> None:
        self.on_delivered = on_delivered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def send(self, record: Outgoing) -> None:
        self.sent.append(record.value)
        self.on_delivered(record, 0, len(self.sent))

    def settle(self) -> None:
        pass


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    InstantProducer.sent = []
    monkeypatch.setattr(replay_module, "RecordProducer", InstantProducer)
    return InstantProducer.sent


def events(count: int, *, bad_after: int | None = None, amount: int = 1) -> Iterator[SourceEvent]:
    for number in range(count):
        if number == bad_after:
            raise UserError(f"cards.csv, row {number + 2}: 'x' is not a number", "correct the row")
        transaction = {
            "transaction_id": f"t-{number}", "customer_id": f"c-{number % 7}", "amount_minor": amount,
            "currency": "USD", "event_time_ms": 1_704_067_200_000 + number,
        }  # fmt: skip
        yield SourceEvent(transaction, row=number + 2)


def run(record: ResumeRecord, source: Iterator[SourceEvent], *, resume: bool = False) -> int:
    plan = ReplayPlan(faults=FAULTS, record=record, is_resumed=resume)
    return replay(source, plan, Broker("nowhere:1"), "streamflow").sent


def record_of(folder: Path) -> ResumeRecord:
    return ResumeRecord.of(folder, folder / "cards.csv", "streamflow", "")


def test_resume_sends_the_rest_and_nothing_twice(tmp_path: Path, sent: list[bytes | None]) -> None:
    run(record_of(tmp_path), events(300))
    complete = list(sent)
    assert record_of(tmp_path).earlier() == 0, "a complete replay leaves no record"
    sent.clear()
    broken = record_of(tmp_path)
    with pytest.raises(UserError, match="row 202"):
        run(broken, events(300, bad_after=200))
    assert record_of(tmp_path).earlier() == len(sent) == broken.delivered
    assert broken.row == 201
    before = len(sent)
    rest = run(record_of(tmp_path), events(300), resume=True)
    assert rest == len(complete) - before
    assert sent == complete
    assert record_of(tmp_path).earlier() == 0


def test_a_second_error_keeps_the_sum(tmp_path: Path, sent: list[bytes | None]) -> None:
    for bad_after, resume in ((50, False), (120, True)):
        with pytest.raises(UserError, match="is not a number"):
            run(record_of(tmp_path), events(300, bad_after=bad_after), resume=resume)
        assert record_of(tmp_path).earlier() == len(sent)
    with pytest.raises(UserError, match="is not a number"):
        run(record_of(tmp_path), events(300, bad_after=10), resume=True)
    assert record_of(tmp_path).earlier() == len(sent), "an error before the last sent row loses no progress"


def test_changed_rows_and_a_missing_record_are_refused(tmp_path: Path, sent: list[bytes | None]) -> None:
    with pytest.raises(UserError, match="no unfinished replay"):
        run(record_of(tmp_path), events(10), resume=True)
    with pytest.raises(UserError, match="is not a number"):
        run(record_of(tmp_path), events(300, bad_after=100))
    count = len(sent)
    for changed in (events(300, amount=2), itertools.islice(events(300), 20)):
        with pytest.raises(UserError, match="are not the records that were sent before"):
            run(record_of(tmp_path), changed, resume=True)
        assert len(sent) == count
        assert record_of(tmp_path).earlier() == count


def test_the_error_states_how_much_was_sent_and_how_to_continue(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    record.delivered, record.row = 600, 601
    error = interrupted(UserError("cards.csv, row 602: broken", "correct the row"), record, 600)
    assert error.what == "cards.csv, row 602: broken; 600 records were sent before, up to row 601"
    assert error.fix == "correct the row; then run the same command with --resume to send the rest"
