"""The audit of redrives in Postgres (``ops.redrive_runs``, ``ops.redrives``), which is also what keeps them single."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from flink_jobs.core.dead_letters.redrive import NO_HISTORY, RedriveHistory, replays_of
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.job.archiver.rows import Refusal, write_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.job.archiver.tables import Archive
    from flink_jobs.kafka.consumer import Position

_LOCK: Final = 0x5F30
"""One redrive at a time: the next one has to know what became of all records of the one before."""
_PLACE: Final = ("topic", "partition", "offset")

Place = tuple[str, int, int]
"""Topic, partition and offset."""


@dataclass(frozen=True, slots=True)
class Item:
    """A letter, and what is sent for it."""

    letter: DeadLetterDocument
    payload: bytes
    is_forced: bool = False
    changes: list[dict[str, Any]] | None = None
    """None: the payload is the letter's own."""

    @property
    def place(self) -> Place:
        """Return the coordinates of the record that was set aside."""
        return self.letter["topic"], self.letter["partition"], self.letter["offset"]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A record that a run was about to send when it was cut short."""

    redrive_id: int
    run_id: str
    dlq_id: str
    topic: str
    positions: dict[Position, int]
    """Ends of the topics before the run."""
    age_s: float


@dataclass(slots=True)
class History:
    """What redrives have done so far, by the coordinates of the records that were set aside."""

    past: dict[Place, RedriveHistory] = field(default_factory=dict)

    def of(self, letter: DeadLetterDocument) -> RedriveHistory:
        """Return the past of a letter's record."""
        return self.past.get((letter["topic"], letter["partition"], letter["offset"]), NO_HISTORY)


class RedriveStore:
    """Reads and writes the audit inside one open connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use a connection in autocommit mode."""
        self._connection = connection

    def history(self) -> History:
        """Return the past of every record that was ever redriven."""
        rows = self._connection.execute(
            "SELECT source_topic, source_partition, source_offset,"
            " bool_or(outcome IN ('sent', 'written', 'started')), count(*) FILTER (WHERE outcome = 'refused')"
            " FROM ops.redrives GROUP BY 1, 2, 3"
        )
        return History(
            {(topic, partition, offset): RedriveHistory(done, tries) for topic, partition, offset, done, tries in rows}
        )

    def attempts(self, dlq_id: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """Return the newest attempts, newest first; of one letter, or of all."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                "SELECT redrives.started_at, dlq_id, letter_reason, source_topic, source_partition, source_offset,"
                " replay, outcome, detail, sent_partition, sent_offset, is_forced, changes, ended_at, run_id,"
                " started_by, runs.reason AS why"
                " FROM ops.redrives JOIN ops.redrive_runs AS runs USING (run_id)"
                " WHERE %(name)s::text IS NULL OR dlq_id = %(name)s ORDER BY redrive_id DESC LIMIT %(limit)s",
                {"name": dlq_id, "limit": limit},
            ).fetchall()

    def decision_at(self, topic: str, partition: int, offset: int, since: object) -> dict[str, Any] | None:
        """Return the decision on a record, if the archive has it; ``since``: it cannot be older."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                "SELECT transaction_id, customer_id, score, is_alert, processing_time FROM raw.decisions"
                " WHERE loaded_at >= %s AND source_topic = %s AND source_partition = %s AND source_offset = %s",
                (since, topic, partition, offset),
            ).fetchone()

    def begin(self, run: str, who: str, why: str, selection: dict[str, Any], ends: dict[Position, int]) -> None:
        """Enter a run before it sends anything."""
        positions = [[topic, partition, offset] for (topic, partition), offset in ends.items()]
        self._connection.execute(
            "INSERT INTO ops.redrive_runs (run_id, started_by, reason, selection, positions)"
            " VALUES (%s, %s, %s, %s, %s)",
            (run, who, why, Jsonb(selection), Jsonb(positions)),
        )

    def finish(self, run: str) -> None:
        """Note that a run came to its end."""
        self._connection.execute("UPDATE ops.redrive_runs SET finished_at = now() WHERE run_id = %s", (run,))

    def claim(self, run: str, items: Sequence[Item]) -> dict[int, Item]:
        """Enter what is about to be sent; return the items by number, without those that somebody else has.

        Committed when this returns: from here on no other run sends them.
        """
        claimed = {}
        with self._connection.transaction():
            for item in items:
                number = self._insert(run, item)
                if number is not None:
                    claimed[number] = item
        return claimed

    def _insert(self, run: str, item: Item, past: RedriveHistory = NO_HISTORY) -> int | None:
        letter = item.letter
        row = self._connection.execute(
            "INSERT INTO ops.redrives (run_id, dlq_id, letter_reason, source_topic, source_partition, source_offset,"
            " replay, is_forced, changes, edited_payload, payload_sha256)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING redrive_id",
            (
                run, letter["dlq_id"], letter["reason"], *(letter[name] for name in _PLACE),
                replays_of(letter, past) + 1, item.is_forced, None if item.changes is None else Jsonb(item.changes),
                None if item.changes is None else item.payload, sha256(item.payload).hexdigest(),
            ),
        ).fetchone()  # fmt: skip
        return None if row is None else int(row[0])

    def note_sent(self, landed: dict[int, tuple[int, int]]) -> None:
        """Complete rows of records that Kafka has: number to partition and offset."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE ops.redrives SET outcome = 'sent', sent_partition = %s, sent_offset = %s, ended_at = now()"
                " WHERE redrive_id = %s AND outcome = 'started'",
                [(partition, offset, number) for number, (partition, offset) in landed.items()],
            )

    def note_abandoned(self, number: int, detail: str) -> None:
        """Complete the row of a record that never reached Kafka; it may be redriven again."""
        self._end(number, "abandoned", detail)

    def write_row(self, run: str, item: Item, archive: Archive, past: RedriveHistory) -> Refusal | None:
        """Write what the archive set aside into its table, and the audit with it: both, or neither.

        Returns:
            Why the table refused it again, None if it took it.
        """
        with self._connection.transaction():
            number = self._insert(run, item, past)
            if number is None:
                return None
            try:
                text = item.payload.decode()
                refused = write_messages(self._connection, archive, [text])
            except UnicodeDecodeError:
                refused = [Refusal(0, "no text in UTF-8")]
            outcome = "refused" if refused else "written"
            self._end(number, outcome, refused[0].detail if refused else None)
            return refused[0] if refused else None

    def interrupted(self) -> list[Interrupted]:
        """Return what runs before this one were about to send when they were cut short."""
        rows = self._connection.execute(
            "SELECT redrive_id, run_id, dlq_id, source_topic, positions,"
            " extract(epoch FROM now() - redrives.started_at)::float8"
            " FROM ops.redrives JOIN ops.redrive_runs USING (run_id) WHERE outcome = 'started' ORDER BY redrive_id"
        ).fetchall()
        return [
            Interrupted(number, run, name, topic, {(t, p): offset for t, p, offset in positions}, age)
            for number, run, name, topic, positions, age in rows
        ]

    def _end(self, number: int, outcome: str, detail: str | None) -> None:
        self._connection.execute(
            "UPDATE ops.redrives SET outcome = %s, detail = %s, ended_at = now() WHERE redrive_id = %s",
            (outcome, detail, number),
        )


@contextmanager
def open_redrives(dsn: str, *, alone: bool = False) -> Iterator[RedriveStore]:
    """Connect to the audit; ``alone`` lets nobody else redrive meanwhile.

    Raises:
        UserError: no database, no tables, or somebody else is redriving.
    """
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            if alone:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
                if row is None or not row[0]:
                    raise UserError("somebody else is redriving dead letters", "wait until they are done")
            yield RedriveStore(connection)
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"Postgres, which keeps the audit, does not answer ({reason})",
            "run `streamflow up`; what was under way is settled by the next redrive",
            ErrorCode.POSTGRES_UNREACHABLE,
        ) from None
    except psycopg.errors.UndefinedTable:
        raise UserError(
            "the database has no audit of redrives yet", "run `streamflow up`: it brings the tables up to date"
        ) from None
