"""One redrive from beginning to end: settle what was cut short, choose, claim, send, complete.

Every letter's row in ``ops.redrives`` is committed before its record is sent and completed after Kafka has it. Killed
anywhere between, the next run finds out what had arrived (see ``recovery``) before it sends anything itself.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from kafka.errors import KafkaError

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.dead_letters.policies import RedriveMethod, policy_of
from flink_jobs.core.dead_letters.redrive import customer_of, judge, redrive_headers
from flink_jobs.dead_letters.letters import whole_payloads
from flink_jobs.dead_letters.redrive_audit import Item
from flink_jobs.errors import UserError
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.producer import DELIVERY_LIMIT_S, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flink_jobs.core.dead_letters.redrive import RedriveHistory, RedriveVerdict
    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.dead_letters.redrive_audit import History, RedriveStore
    from flink_jobs.kafka.pacing import Pace

CHUNK: Final = 100
"""Letters claimed and sent together: at most so many are open when a run is killed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the topics are, and when a letter is parked."""

    broker: Broker
    prefix: str
    replay_limit: int


@dataclass(frozen=True, slots=True)
class Order:
    """Who redrives, why and how."""

    who: str
    why: str
    selection: dict[str, Any]
    pace: Pace
    is_forced: bool = False


@dataclass(slots=True)
class Plan:
    """What a redrive would do."""

    items: list[Item] = field(default_factory=list)
    verdicts: list[tuple[DeadLetterDocument, RedriveVerdict]] = field(default_factory=list)

    def add(self, item: Item, verdict: RedriveVerdict) -> None:
        """Enter a letter."""
        self.verdicts.append((item.letter, verdict))
        if verdict.is_allowed:
            self.items.append(item)


@dataclass(slots=True)
class Report:
    """What a redrive did."""

    run: str
    sent: int = 0
    written: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Letters whose table refused them again, with the reason."""
    taken: int = 0
    """Letters that another run had redriven meanwhile."""


def plan_redrive(
    place: Place, letters: Iterable[DeadLetterDocument], history: History, *, now_ms: int, is_forced: bool
) -> Plan:
    """Judge letters as they are; the same letter written twice counts once."""
    plan = Plan()
    distinct = {letter["dlq_id"]: letter for letter in letters}
    open_letters = [
        letter
        for letter in distinct.values()
        if policy_of(letter).method is not RedriveMethod.NEVER and not history.of(letter).is_done
    ]
    payloads = whole_payloads(open_letters, place.broker)
    for name, letter in distinct.items():
        payload = payloads.get(name)
        verdict = judge(letter, payload, history.of(letter), place.replay_limit, now_ms, is_forced=is_forced)
        plan.add(Item(letter, payload or b"", is_forced), verdict)
    return plan


def run_redrive(
    store: RedriveStore, place: Place, order: Order, items: Sequence[Item], on_progress: Callable[[Report], None]
) -> Report:
    """Redrive letters that were judged to go.

    Args:
        store: opened alone.
        place: where the topics are.
        order: who, why, how fast.
        items: in the order to send them.
        on_progress: called after every chunk.

    Raises:
        UserError: the broker or the database went away; the next run settles what was under way.
    """
    report = Report(f"rd-{uuid.uuid4()}")
    topics = sorted({item.letter["topic"] for item in items if policy_of(item.letter).method is not RedriveMethod.ROW})
    store.begin(report.run, order.who, order.why, order.selection, _ends(place.broker, topics))
    history, began = store.history(), time.monotonic()
    rows = [item for item in items if policy_of(item.letter).method is RedriveMethod.ROW]
    records = [item for item in items if policy_of(item.letter).method is not RedriveMethod.ROW]
    for item in rows:
        _write_row(store, place, item, history.of(item.letter), report)
    size = CHUNK if order.pace.rate is None else max(1, min(CHUNK, int(order.pace.rate)))
    with RedriveProducer(place.broker, report.run) as producer:
        for start in range(0, len(records), size):
            time.sleep(max(0.0, began + order.pace.due_s(start, 0) - time.monotonic()))
            claimed = store.claim(report.run, records[start : start + size])
            report.taken += len(records[start : start + size]) - len(claimed)
            store.note_sent(producer.send(claimed))
            report.sent += len(claimed)
            on_progress(report)
    store.finish(report.run)
    return report


class RedriveProducer:
    """Sends records with the headers of a run, a chunk at a time."""

    def __init__(self, broker: Broker, run: str) -> None:
        """Connect.

        Raises:
            UserError: no broker answers.
        """
        self._producer = connect(broker)
        self._run = run

    def __enter__(self) -> Self:
        """Return the producer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection; what was sent was waited for."""
        self._producer.close(timeout=1)

    def send(self, claimed: dict[int, Item]) -> dict[int, tuple[int, int]]:
        """Send records by number; return partition and offset of each once the broker has them all.

        Raises:
            UserError: it did not take one; those before it may be there.
        """
        try:
            answers = {number: self._start(item) for number, item in claimed.items()}
            landed = {number: answer.get(timeout=DELIVERY_LIMIT_S) for number, answer in answers.items()}
        except KafkaError as cause:
            raise UserError(
                f"Kafka did not take a redriven record ({type(cause).__name__})",
                "see `streamflow status`, then give the same command again: it goes on where this one stopped",
            ) from None
        return {number: (place.partition, place.offset) for number, place in landed.items()}

    def _start(self, item: Item) -> Any:  # noqa: ANN401 - kafka-python's future
        customer = customer_of(item.payload)
        return self._producer.send(
            item.letter["topic"],
            value=item.payload,
            key=None if customer is None else customer.encode(),
            headers=redrive_headers(item.letter, self._run),
        )


def _write_row(store: RedriveStore, place: Place, item: Item, past: RedriveHistory, report: Report) -> None:
    suffix = item.letter["topic"].removeprefix(topic_name(place.prefix, ""))
    if suffix not in ARCHIVE_OF:
        raise UserError(
            f"{item.letter['dlq_id']} is of {item.letter['topic']}, which has no table",
            "set STREAMFLOW_TOPIC_PREFIX to the prefix of the installation that wrote it",
        )
    refusal = store.write_row(report.run, item, ARCHIVE_OF[suffix], past)
    if refusal is None:
        report.written += 1
    else:
        report.refused.append((item.letter["dlq_id"], refusal.detail))


def _ends(broker: Broker, topics: list[str]) -> dict[tuple[str, int], int]:
    if not topics:
        return {}
    with CommittedReader(broker, topics) as reader:
        return reader.end_offsets()
