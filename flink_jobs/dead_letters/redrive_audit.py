"""The audit of redrives in Postgres: ``ops.redrive_runs`` and ``ops.redrives``.

A unique index on the audit prevents a second redrive of the same record.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from flink_jobs.core.dead_letters.payload_mask import masked_bytes
from flink_jobs.core.dead_letters.redrive import NO_HISTORY, RedriveHistory, replays_of
from flink_jobs.dead_letters.connection import connected
from flink_jobs.errors import UserError
from flink_jobs.job.archiver.rows import Refusal, write_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.job.archiver.tables import Archive
    from flink_jobs.kafka.consumer import Position

_LOCK: Final = 0x5F34
"""Advisory lock: one redrive runs at a time, because it needs the outcome of every record of the one before."""

RecordCoordinates = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True, slots=True)
class RedriveItem:
    """A dead letter, and the payload to send for it."""

    letter: DeadLetterDocument
    payload: bytes
    is_forced: bool = False
    changes: list[dict[str, Any]] | None = None
    """Edited fields; None: the payload is not edited."""


@dataclass(frozen=True, slots=True)
class InterruptedSend:
    """A record that a run had claimed, and perhaps sent, when the run was interrupted."""

    redrive_id: int
    run_id: str
    dlq_id: str
    topic: str
    positions: dict[Position, int]
    """End offsets of the topics before the run."""
    age_s: float


@dataclass(slots=True)
class RedriveHistories:
    """The earlier redrives of every record, by the coordinates of the record."""

    by_record: dict[RecordCoordinates, RedriveHistory] = field(default_factory=dict)

    def of(self, letter: DeadLetterDocument) -> RedriveHistory:
        """Return the earlier redrives of a dead letter's record."""
        return self.by_record.get(coordinates_of(letter), NO_HISTORY)


@dataclass(frozen=True, slots=True)
class RedriveAttempt:
    """One row of the audit: one attempt to redrive one dead letter."""

    started_at: datetime
    dlq_id: str
    letter_reason: str
    source_topic: str
    source_partition: int
    source_offset: int
    replay: int
    outcome: str
    """``started``, ``sent``, ``written``, ``refused`` or ``abandoned``."""
    detail: str | None
    sent_partition: int | None
    sent_offset: int | None
    is_forced: bool
    changes: list[dict[str, Any]] | None
    ended_at: datetime | None
    run_id: str
    started_by: str
    why: str


class RecordedDecision(NamedTuple):
    """The score of a decision in Postgres, and whether it is an alert."""

    score: float
    is_alert: bool


def coordinates_of(letter: DeadLetterDocument) -> RecordCoordinates:
    """Return the coordinates of a dead letter's record."""
    return letter["topic"], letter["partition"], letter["offset"]


class RedriveStore:
    """Reads and writes the audit inside one open connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use an open connection in autocommit mode."""
        self._connection = connection

    def histories(self) -> RedriveHistories:
        """Return the earlier redrives of every record."""
        rows = self._connection.execute(
            "SELECT source_topic, source_partition, source_offset,"
            " bool_or(outcome IN ('sent', 'written', 'started')), count(*) FILTER (WHERE outcome = 'refused')"
            " FROM ops.redrives GROUP BY 1, 2, 3"
        )
        return RedriveHistories(
            {(topic, partition, offset): RedriveHistory(done, tries) for topic, partition, offset, done, tries in rows}
        )

    def attempts(self, dlq_id: str | None = None, limit: int = 1_000) -> list[RedriveAttempt]:
        """Return the newest attempts on one dead letter, or on all, newest first."""
        with self._connection.cursor(row_factory=class_row(RedriveAttempt)) as cursor:
            return cursor.execute(
                "SELECT redrives.started_at, dlq_id, letter_reason, source_topic, source_partition, source_offset,"
                " replay, outcome, detail, sent_partition, sent_offset, is_forced, changes, ended_at, run_id,"
                " started_by, runs.reason AS why"
                " FROM ops.redrives JOIN ops.redrive_runs AS runs USING (run_id)"
                " WHERE %(name)s::text IS NULL OR dlq_id = %(name)s ORDER BY redrive_id DESC LIMIT %(limit)s",
                {"name": dlq_id, "limit": limit},
            ).fetchall()

    def decision_at(self, attempt: RedriveAttempt) -> RecordedDecision | None:
        """Return the decision on the record that an attempt sent, None if the archive has none."""
        with self._connection.cursor(row_factory=class_row(RecordedDecision)) as cursor:
            return cursor.execute(
                "SELECT score, is_alert FROM raw.decisions"
                " WHERE loaded_at >= %s AND source_topic = %s AND source_partition = %s AND source_offset = %s",
                # The archive cannot have loaded the decision before the record was sent; the time selects partitions.
                (attempt.started_at, attempt.source_topic, attempt.sent_partition, attempt.sent_offset),
            ).fetchone()

    def begin(self, run: str, who: str, why: str, selection: dict[str, Any], ends: dict[Position, int]) -> None:
        """Record a run before it sends anything."""
        positions = [[topic, partition, offset] for (topic, partition), offset in ends.items()]
        self._connection.execute(
            "INSERT INTO ops.redrive_runs (run_id, started_by, reason, selection, positions)"
            " VALUES (%s, %s, %s, %s, %s)",
            (run, who, why, Jsonb(selection), Jsonb(positions)),
        )

    def finish(self, run: str) -> None:
        """Record the end of a run."""
        self._connection.execute("UPDATE ops.redrive_runs SET finished_at = now() WHERE run_id = %s", (run,))

    def claim(self, run: str, items: Sequence[RedriveItem]) -> dict[int, RedriveItem]:
        """Claim items to send; return the claimed items by attempt number, without those that another run has claimed.

        The claims are committed when the method returns: no other run sends these items.
        """
        claimed = {}
        with self._connection.transaction():
            for item in items:
                number = self._insert(run, item)
                if number is not None:
                    claimed[number] = item
        return claimed

    def _insert(self, run: str, item: RedriveItem, history: RedriveHistory = NO_HISTORY) -> int | None:
        letter = item.letter
        row = self._connection.execute(
            "INSERT INTO ops.redrives (run_id, dlq_id, letter_reason, source_topic, source_partition, source_offset,"
            " replay, is_forced, changes, edited_payload, payload_sha256)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING redrive_id",
            (
                run, letter["dlq_id"], letter["reason"], *coordinates_of(letter),
                replays_of(letter, history) + 1, item.is_forced, None if item.changes is None else Jsonb(item.changes),
                None if item.changes is None else masked_bytes(item.payload), sha256(item.payload).hexdigest(),
            ),
        ).fetchone()  # fmt: skip
        return None if row is None else int(row[0])

    def note_sent(self, landed: dict[int, tuple[int, int]]) -> None:
        """Complete the attempts whose record Kafka has: attempt number to partition and offset."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE ops.redrives SET outcome = 'sent', sent_partition = %s, sent_offset = %s, ended_at = now()"
                " WHERE redrive_id = %s AND outcome = 'started'",
                [(partition, offset, number) for number, (partition, offset) in landed.items()],
            )

    def note_abandoned(self, number: int, detail: str) -> None:
        """Complete the attempt whose record never reached Kafka; the record can be redriven again."""
        self._end(number, "abandoned", detail)

    def write_row(self, run: str, item: RedriveItem, archive: Archive, history: RedriveHistory) -> Refusal | None:
        """Write a row that the archive job rejected, and its audit row, in one transaction.

        Returns:
            Why Postgres rejected the row again; None if it was written.
        """
        with self._connection.transaction():
            number = self._insert(run, item, history)
            if number is None:
                return None
            try:
                text = item.payload.decode()
                refused = write_messages(self._connection, archive, [text])
            except UnicodeDecodeError:
                refused = [Refusal(0, "not UTF-8 text")]
            outcome = "refused" if refused else "written"
            self._end(number, outcome, refused[0].detail if refused else None)
            return refused[0] if refused else None

    def interrupted(self) -> list[InterruptedSend]:
        """Return the attempts of earlier runs that have no outcome, because the run was interrupted."""
        rows = self._connection.execute(
            "SELECT redrive_id, run_id, dlq_id, source_topic, positions,"
            " extract(epoch FROM now() - redrives.started_at)::float8"
            " FROM ops.redrives JOIN ops.redrive_runs USING (run_id) WHERE outcome = 'started' ORDER BY redrive_id"
        ).fetchall()
        return [
            InterruptedSend(number, run, name, topic, {(t, p): offset for t, p, offset in positions}, age)
            for number, run, name, topic, positions, age in rows
        ]

    def _end(self, number: int, outcome: str, detail: str | None) -> None:
        self._connection.execute(
            "UPDATE ops.redrives SET outcome = %s, detail = %s, ended_at = now() WHERE redrive_id = %s",
            (outcome, detail, number),
        )


@contextmanager
def open_redrives(dsn: str, *, alone: bool = False) -> Iterator[RedriveStore]:
    """Connect to the audit; with ``alone``, exclude every other redrive meanwhile.

    Raises:
        UserError: the database does not answer or lacks the tables, or another redrive is running.
    """
    try:
        with connected(
            dsn, _LOCK if alone else None, "another redrive is running",
            what="Postgres, which holds the audit of redrives,",
            fix="run `streamflow up`; the next redrive resolves interrupted sends",
        ) as connection:  # fmt: skip
            yield RedriveStore(connection)
    except psycopg.errors.UndefinedTable:
        raise UserError(
            "the database has no tables for the audit of redrives", "run `streamflow up`, which applies the migrations"
        ) from None
