"""Sends a stream of events to the transactions topic at a given pace, with faults, and keeps the ledger."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.pacing import Pace, Pacing
from flink_jobs.kafka.producer import RecordProducer
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.ledger import LedgerFile, SentLedger
from flink_jobs.traffic.resume import ResumeRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.kafka.outgoing import Outgoing

    Progress = Callable[[SentLedger, float], None]

LONGEST_NAP_S = 0.05  # short, so that Ctrl-C and progress never wait for the next event
PROGRESS_EVERY_S = 1.0


class Watcher:
    """Is called for every record, on the sender's thread: when it is sent, and in the same order when Kafka has it."""

    def sending(self, record: Outgoing) -> None:
        """Handle a record that is passed to the producer now."""

    def delivered(self, record: Outgoing, partition: int, offset: int) -> None:
        """Handle a record that the broker has stored at this partition and offset."""

    def wants_end(self) -> bool:
        """Return whether to stop sending; records on the way are still delivered and entered in the ledger."""
        return False


NO_WATCHER = Watcher()


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How to send.

    Attributes:
        pace: when to send.
        faults: the faults to add.
        limit: the largest number of valid events; None: all.
        record: keeps the progress for a later resume; None: no resume.
        is_resumed: continue the unfinished replay of ``record``.
    """

    pace: Pacing = field(default_factory=Pace)
    faults: FaultPlan = field(default_factory=FaultPlan)
    limit: int | None = None
    record: ResumeRecord | None = None
    is_resumed: bool = False


def replay(
    events: Iterable[SourceEvent],
    plan: ReplayPlan,
    broker: Broker,
    prefix: str,
    *,
    ledger_path: Path | None = None,
    on_progress: Progress | None = None,
    ledger: SentLedger | None = None,
    watcher: Watcher = NO_WATCHER,
) -> SentLedger:
    """Send events; return the ledger when the broker has stored all of them.

    Args:
        events: in the order to send them.
        plan: pace, faults, limit.
        broker: address of Kafka and login.
        prefix: prefix of the topics.
        ledger_path: file to which one JSON line per record is written as well.
        on_progress: called about once a second with the ledger and the seconds since the start.
        ledger: ledger to fill, for a caller that reads it meanwhile; None: a new one.
        watcher: called for each record after the ledger; it may end the replay.

    Raises:
        UserError: no broker answers, the topic does not exist, or the broker rejected a record.
    """
    ledger = SentLedger() if ledger is None else ledger
    topic = topic_name(prefix, "transactions")
    records, record_of_run = with_faults(itertools.islice(events, plan.limit), plan.faults), plan.record
    if record_of_run is not None and plan.is_resumed:
        records = record_of_run.continued(records)
    with ExitStack() as files:
        file = (
            None
            if ledger_path is None
            else LedgerFile(files.enter_context(ledger_path.open("ab" if plan.is_resumed else "wb")), topic)
        )

        def enter(record: Outgoing, partition: int, offset: int) -> None:
            ledger.add(record, partition, offset)
            if record_of_run is not None:
                record_of_run.add(record)
            if file is not None:
                file.add(record, partition, offset)
            watcher.delivered(record, partition, offset)

        producer = RecordProducer(broker, topic, enter)
        with _kept(record_of_run):
            _send(records, plan.pace, producer, ledger, _saving(record_of_run, on_progress), watcher)
    return ledger


@contextmanager
def _kept(record: ResumeRecord | None) -> Iterator[None]:
    """Save the progress after an error or Ctrl-C, and delete it after a complete replay."""
    try:
        yield
    except BaseException:
        if record is not None:
            record.save()
        raise
    if record is not None:
        record.finish()


def _saving(record: ResumeRecord | None, on_progress: Progress | None) -> Progress | None:
    """Return a progress function that also saves the progress, in case that the process is killed."""
    if record is None:
        return on_progress

    def progress(ledger: SentLedger, seconds: float) -> None:
        record.save()
        if on_progress is not None:
            on_progress(ledger, seconds)

    return progress


def _send(
    records: Iterable[Outgoing],
    pace: Pacing,
    producer: RecordProducer,
    ledger: SentLedger,
    on_progress: Progress | None,
    watcher: Watcher,
) -> None:
    start = last_progress = time.monotonic()
    with producer:
        for record in paced(records, pace, time.monotonic, _nap(producer), watcher.wants_end):
            watcher.sending(record)
            producer.send(record)
            if on_progress is not None and (now := time.monotonic()) - last_progress >= PROGRESS_EVERY_S:
                last_progress = now
                on_progress(ledger, now - start)
    if on_progress is not None:
        on_progress(ledger, time.monotonic() - start)


def _nap(producer: RecordProducer) -> Callable[[float], None]:
    """Return a sleep function that also enters deliveries in the ledger."""

    def nap(seconds: float) -> None:
        time.sleep(seconds)
        producer.settle()

    return nap


def paced(
    records: Iterable[Outgoing],
    pace: Pacing,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Outgoing]:
    """Yield each record when it is due.

    Args:
        records: the records to send.
        pace: says when a record is due after the first.
        clock: monotonic seconds.
        sleep: waits for the given seconds.
        stopped: called before each record and after each sleep; True ends the stream.
    """
    start = clock()
    origin_ms: int | None = None
    for index, record in enumerate(records):
        origin_ms = record.event_time_ms if origin_ms is None else origin_ms
        due = start + pace.due_s(index, record.event_time_ms - origin_ms)
        while not stopped() and (wait := due - clock()) > 0:
            sleep(min(wait, LONGEST_NAP_S))
        if stopped():
            return
        yield record
