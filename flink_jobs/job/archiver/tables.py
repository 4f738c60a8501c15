"""The table of each archived topic, and the SQL that writes messages to it.

A row has two ways into its table, and both end in the same statement: from typed columns that ``COPY`` brought into a
temporary table (``flink_jobs.job.archiver.copying``), which costs half, and from the message itself, which Postgres
parses (``jsonb_to_record``). The second way decides on every message that the first one cannot convert.
"""

from dataclasses import dataclass, field
from typing import Final

from flink_jobs.core.accounts.document import UserActionDocument
from flink_jobs.core.documents import (
    AlertDocument,
    AuditDocument,
    DeadLetterDocument,
    DecisionDocument,
    Variant,
)
from flink_jobs.core.label import LabelDocument
from flink_jobs.job.archiver.columns import Columns, Origin, columns_of


@dataclass(frozen=True, slots=True)
class Archive:
    """One topic and its table."""

    topic: str
    """Suffix of the topic."""
    table: str
    primary_key: tuple[str, ...]
    columns: Columns
    """Type of each column; the JSON field of the same name gives its value."""
    origins: dict[str, Origin] = field(default_factory=dict)
    """Where the values of the other columns are."""
    written_by_us: bool = True
    """Only our jobs write to the topic: if every row of a batch is rejected, the table is wrong, not the messages."""

    @property
    def renamed(self) -> dict[str, str]:
        """SQL expression of each column with an origin, over ``doc``, the message as ``jsonb``."""
        return {name: origin.sql(self.columns[name]) for name, origin in self.origins.items() if name in self.columns}

    @property
    def incoming(self) -> str:
        """Name of the temporary table that takes the copied rows."""
        return f"incoming_{self.topic.replace('-', '_')}"


_VARIANT: Final = Origin(("variant",), Variant.CHAMPION.value)
"""Version 1 of decisions and alerts has no experiments; its messages are archived too."""
_DECISION_ORIGINS: Final = {
    "source_topic": Origin(("source", "topic")), "source_partition": Origin(("source", "partition")),
    "source_offset": Origin(("source", "offset")), "variant": _VARIANT,
}  # fmt: skip
_ALERT_ORIGINS: Final = {"variant": _VARIANT}
_IN_THE_DECISION: Final = ("terminal", "device", "card")
"""Fields of labels without a column: the decision has them, which joins by customer and transaction."""
_LETTER_ORIGINS: Final = {
    "source_topic": Origin(("topic",)), "source_partition": Origin(("partition",)),
    "source_offset": Origin(("offset",)),
    "received_ms": Origin(("timestamp_ms",), 0),  # selects the partition by day
}  # fmt: skip

ARCHIVES: Final = (
    Archive(
        "decisions", "raw.decisions", ("customer_id", "transaction_id", "event_time_ms"),
        columns_of(DecisionDocument, without=("source",), origins=_DECISION_ORIGINS), _DECISION_ORIGINS,
    ),
    Archive(
        "alerts", "raw.alerts", ("alert_id", "event_time_ms"),
        columns_of(AlertDocument, origins=_ALERT_ORIGINS), _ALERT_ORIGINS,
    ),
    Archive(
        "dlq", "raw.dead_letters", ("dlq_id", "received_ms"),
        columns_of(DeadLetterDocument, without=("topic", "partition", "offset"), origins=_LETTER_ORIGINS),
        _LETTER_ORIGINS,
    ),
    Archive("audit", "ops.control_audit", ("control_id", "outcome"), columns_of(AuditDocument)),
    Archive(
        "labels", "raw.labels", ("label_id",),
        columns_of(LabelDocument, without=_IN_THE_DECISION), written_by_us=False,
    ),
    Archive("user-actions", "raw.user_actions", ("action_id",), columns_of(UserActionDocument), written_by_us=False),
)  # fmt: skip

ARCHIVE_OF: Final = {archive.topic: archive for archive in ARCHIVES}
"""The archives by the suffix of their topic."""


def upsert_sql(archive: Archive) -> str:
    """Return the statement that writes messages, given as one ``text[]``; of several with one key, the last one wins.

    A decision carries the coordinates of its input record. Those of the earlier ones of several decisions with one key
    go to ``ops.superseded_decisions``, so that no input record seems to be without an outcome.

    The parameter is binary: quoting JSON for an array in text form would cost the client more than all other steps.
    """
    return _upsert(archive, parse_sql(archive))


def parse_sql(archive: Archive) -> str:
    """Return the query with which Postgres parses messages, given as one ``text[]``: the columns and a number."""
    renamed = archive.renamed
    cells = ", ".join(f"{renamed.get(name, f'field.{name}')} AS {name}" for name in archive.columns)
    fields = ", ".join(f"{name} {kind}" for name, kind in archive.columns.items() if name not in renamed)
    return f"""SELECT {cells}, number
            FROM unnest(%b::text[]) WITH ORDINALITY AS message (body, number),
                LATERAL (SELECT body::jsonb) AS parsed (doc),
                LATERAL jsonb_to_record(doc) AS field ({fields})"""  # noqa: S608 - our own names


def upsert_copied_sql(archive: Archive) -> str:
    """Return the same statement for the rows of the temporary table."""
    return _upsert(archive, f"SELECT {', '.join(archive.columns)}, number FROM {archive.incoming}")  # noqa: S608


def create_incoming_sql(archive: Archive) -> str:
    """Return the statement that creates the temporary table of this session; a commit empties it."""
    columns = ", ".join(f"{name} {kind}" for name, kind in archive.columns.items())
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {archive.incoming} ({columns}, number integer) ON COMMIT DELETE ROWS"


def copy_sql(archive: Archive) -> str:
    """Return the statement that takes rows in Postgres' text format: the columns in their order, and a number."""
    return f"COPY {archive.incoming} ({', '.join(archive.columns)}, number) FROM STDIN"


def _upsert(archive: Archive, rows: str) -> str:
    """Return the upsert of a query's rows: the columns, and ``number``, which counts up in the order of the batch."""
    names = ", ".join(archive.columns)
    key = ", ".join(archive.primary_key)
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in archive.columns)
    superseded = _SUPERSEDED.format(key=key) if archive.topic == "decisions" else ""
    return f"""
        WITH row_of AS (
            {rows}
        ){superseded}
        INSERT INTO {archive.table} ({names})
        SELECT DISTINCT ON ({key}) {names} FROM row_of
        ORDER BY {key}, number DESC
        ON CONFLICT ({key}) DO UPDATE SET {changes}"""  # noqa: S608 - our own names


_SUPERSEDED: Final = """, superseded AS (
            INSERT INTO ops.superseded_decisions (source_topic, source_partition, source_offset)
            SELECT source_topic, source_partition, source_offset
            FROM (
                SELECT source_topic, source_partition, source_offset,
                    first_value((source_topic, source_partition, source_offset)) OVER (
                        PARTITION BY {key} ORDER BY number DESC) AS latest
                FROM row_of
            ) AS decided
            WHERE (source_topic, source_partition, source_offset) IS DISTINCT FROM latest
            ON CONFLICT DO NOTHING
        )"""
