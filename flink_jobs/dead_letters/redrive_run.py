"""Plans and runs a redrive: judge the dead letters, claim them, send their records, complete the audit.

The audit row of a dead letter (``ops.redrives``) is committed before its record is sent, and completed after Kafka has
stored the record. After a kill in between, the next run first finds out which records arrived (``redrive_recovery``).
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
from flink_jobs.core.parsing.transactions import Parser, parse_transaction
from flink_jobs.dead_letters.letters import whole_payloads
from flink_jobs.dead_letters.redrive_audit import RedriveItem
from flink_jobs.errors import UserError
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.producer import DELIVERY_LIMIT_S, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flink_jobs.core.dead_letters.redrive import RedriveHistory, RedriveVerdict
    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.dead_letters.redrive_audit import RedriveHistories, RedriveStore
    from flink_jobs.kafka.pacing import Pace

CHUNK: Final = 100
"""Dead letters claimed and sent together: the largest number without an outcome after a kill."""


@dataclass(frozen=True, slots=True)
class RedriveSettings:
    """Kafka, the prefix of the topics, and the number of replays after which a dead letter is parked."""

    broker: Broker
    prefix: str
    replay_limit: int
    parse: Parser = parse_transaction
    """Parses the payloads; ``WriterSchemas.parse`` also reads Avro records."""


@dataclass(frozen=True, slots=True)
class RedriveOrder:
    """Who redrives, why, which dead letters, and how fast."""

    who: str
    why: str
    selection: dict[str, Any]
    pace: Pace
    is_forced: bool = False


@dataclass(slots=True)
class RedrivePlan:
    """The verdict on every chosen dead letter, and the items to send."""

    items: list[RedriveItem] = field(default_factory=list)
    verdicts: list[tuple[DeadLetterDocument, RedriveVerdict]] = field(default_factory=list)

    def add(self, item: RedriveItem, verdict: RedriveVerdict) -> None:
        """Add the verdict on a dead letter."""
        self.verdicts.append((item.letter, verdict))
        if verdict.is_allowed:
            self.items.append(item)


@dataclass(slots=True)
class RedriveReport:
    """The result of a redrive."""

    run: str
    sent: int = 0
    written: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Ids of the dead letters whose row Postgres rejected again, each with the reason."""
    taken: int = 0
    """Dead letters that another run has redriven meanwhile."""


def plan_redrive(
    settings: RedriveSettings,
    letters: Iterable[DeadLetterDocument],
    histories: RedriveHistories,
    *,
    now_ms: int,
    is_forced: bool,
) -> RedrivePlan:
    """Judge dead letters without edits; duplicates of a dead letter count once."""
    plan = RedrivePlan()
    distinct = {letter["dlq_id"]: letter for letter in letters}
    open_letters = [
        letter
        for letter in distinct.values()
        if policy_of(letter).method is not RedriveMethod.NEVER and not histories.of(letter).is_done
    ]
    payloads = whole_payloads(open_letters, settings.broker)
    for name, letter in distinct.items():
        payload = payloads.get(name)
        verdict = judge(
            letter,
            payload,
            histories.of(letter),
            settings.replay_limit,
            now_ms,
            is_forced=is_forced,
            parse=settings.parse,
        )
        plan.add(RedriveItem(letter, payload or b"", is_forced), verdict)
    return plan


def run_redrive(
    store: RedriveStore,
    settings: RedriveSettings,
    order: RedriveOrder,
    items: Sequence[RedriveItem],
    on_progress: Callable[[RedriveReport], None],
) -> RedriveReport:
    """Redrive the items of a plan.

    Args:
        store: the audit, opened with ``alone``.
        settings: Kafka and the prefix of the topics.
        order: who, why, how fast.
        items: the items, in the order to send them.
        on_progress: called after every chunk.

    Raises:
        UserError: Kafka or Postgres does not answer; the next run resolves interrupted sends.
    """
    report = RedriveReport(f"rd-{uuid.uuid4()}")
    topics = sorted({item.letter["topic"] for item in items if policy_of(item.letter).method is not RedriveMethod.ROW})
    store.begin(report.run, order.who, order.why, order.selection, _ends(settings.broker, topics))
    histories, began = store.histories(), time.monotonic()
    rows = [item for item in items if policy_of(item.letter).method is RedriveMethod.ROW]
    records = [item for item in items if policy_of(item.letter).method is not RedriveMethod.ROW]
    for item in rows:
        _write_row(store, settings, item, histories.of(item.letter), report)
    size = CHUNK if order.pace.rate is None else max(1, min(CHUNK, int(order.pace.rate)))
    with RedriveProducer(settings.broker, report.run, settings.parse) as producer:
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
    """Sends records with the headers of a run, one chunk at a time."""

    def __init__(self, broker: Broker, run: str, parse: Parser = parse_transaction) -> None:
        """Connect; the parser finds the customers of Avro records.

        Raises:
            UserError: no broker answers.
        """
        self._producer = connect(broker)
        self._run = run
        self._parse = parse

    def __enter__(self) -> Self:
        """Return the producer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection; every sent record has been acknowledged."""
        self._producer.close(timeout=1)

    def send(self, claimed: dict[int, RedriveItem]) -> dict[int, tuple[int, int]]:
        """Send records; return partition and offset of each, by attempt number, after Kafka has stored all of them.

        Raises:
            UserError: Kafka rejected a record; records before it may be stored.
        """
        try:
            answers = {number: self._start(item) for number, item in claimed.items()}
            landed = {number: answer.get(timeout=DELIVERY_LIMIT_S) for number, answer in answers.items()}
        except KafkaError as cause:
            raise UserError(
                f"Kafka rejected a redriven record ({type(cause).__name__})",
                "see `streamflow status`, then run the same command again: it continues with the remaining records",
            ) from None
        return {number: (place.partition, place.offset) for number, place in landed.items()}

    def _start(self, item: RedriveItem) -> Any:  # noqa: ANN401 - kafka-python's future
        customer = customer_of(item.payload, self._parse)
        return self._producer.send(
            item.letter["topic"],
            value=item.payload,
            key=None if customer is None else customer.encode(),
            headers=redrive_headers(item.letter, self._run),
        )


def _write_row(
    store: RedriveStore, settings: RedriveSettings, item: RedriveItem, history: RedriveHistory, report: RedriveReport
) -> None:
    suffix = item.letter["topic"].removeprefix(topic_name(settings.prefix, ""))
    if suffix not in ARCHIVE_OF:
        raise UserError(
            f"{item.letter['dlq_id']} is about topic {item.letter['topic']}, which has no table",
            "set STREAMFLOW_TOPIC_PREFIX to the prefix of the installation that wrote it",
        )
    refusal = store.write_row(report.run, item, ARCHIVE_OF[suffix], history)
    if refusal is None:
        report.written += 1
    else:
        report.refused.append((item.letter["dlq_id"], refusal.detail))


def _ends(broker: Broker, topics: list[str]) -> dict[tuple[str, int], int]:
    if not topics:
        return {}
    with CommittedReader(broker, topics) as reader:
        return reader.end_offsets()
