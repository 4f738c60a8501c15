"""The columns of the archived topics: what Kafka's JSON calls them and what Postgres does.

Nested objects arrive as JSON text and Postgres stores them as ``jsonb``; a column named differently in the database
has its own SQL expression.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Archive:
    """One topic and the table it is written to."""

    topic: str
    """Suffix of the topic."""
    table: str
    primary_key: tuple[str, ...]
    columns: dict[str, str]
    """Column of the database table to its SQL type; read from the JSON field of the same name."""
    renamed: dict[str, str]
    """Columns whose JSON field has another place, to the SQL expression over the source table."""
    written_by_us: bool = True
    """Other programs write to the topic too: a message that is not JSON must not stop the archive."""
    only: str = ""
    """SQL condition of the messages that get a row, where the database would refuse others."""


_TEXT: Final = "STRING"
_SCORES: Final = {"score": "DOUBLE", "rule_score": "DOUBLE", "ml_score": "DOUBLE"}
_VERSIONS: Final = {
    "model": _TEXT, "model_version": _TEXT, "ruleset_version": _TEXT, "config_revision": "BIGINT",
}  # fmt: skip
_MONEY: Final = {"amount_minor": "BIGINT", "currency": _TEXT, "merchant": _TEXT, "category": _TEXT}
_TIMES: Final = {"event_time_ms": "BIGINT", "processing_time_ms": "BIGINT"}

_VARIANT: Final = "COALESCE(`variant`, 'champion')"
"""Version 1 of decisions and alerts had no experiments; its messages are read too."""

ARCHIVES: Final = (
    Archive(
        "decisions", "raw.decisions", ("customer_id", "transaction_id", "event_time_ms"),
        {
            "schema_version": "INT", "customer_id": _TEXT, "transaction_id": _TEXT, **_TIMES, **_MONEY,
            "channel": _TEXT, "country": _TEXT, **_SCORES, "alpha": "DOUBLE", "threshold": "DOUBLE",
            "is_alert": "BOOLEAN", "features": _TEXT, "absent": _TEXT, "reasons": _TEXT, **_VERSIONS,
            "variant": _TEXT, "shadow": _TEXT,
            "out_of_order_ms": "BIGINT", "source_topic": _TEXT, "source_partition": "INT", "source_offset": "BIGINT",
        },
        {
            "source_topic": "source.topic", "source_partition": "source.`partition`",
            "source_offset": "source.`offset`", "variant": _VARIANT,
        },
    ),
    Archive(
        "alerts", "raw.alerts", ("alert_id", "event_time_ms"),
        {
            "schema_version": "INT", "alert_id": _TEXT, "customer_id": _TEXT, "transaction_id": _TEXT, **_TIMES,
            **_MONEY, "country": _TEXT, **_SCORES, "threshold": "DOUBLE", "reasons": _TEXT, **_VERSIONS,
            "variant": _TEXT, "contributions": _TEXT, "features": _TEXT,
        },
        {"variant": _VARIANT},
    ),
    Archive(
        "dlq", "raw.dead_letters", ("dlq_id", "received_ms"),
        {
            "schema_version": "INT", "dlq_id": _TEXT, "disposition": _TEXT, "reason": _TEXT, "stage": _TEXT,
            "detail": _TEXT, "source_topic": _TEXT, "source_partition": "INT", "source_offset": "BIGINT",
            "timestamp_ms": "BIGINT", "headers": _TEXT, "payload": _TEXT, "payload_encoding": _TEXT,
            "payload_length": "BIGINT", "payload_sha256": _TEXT, "payload_truncated": "BOOLEAN",
            "processing_time_ms": "BIGINT", "received_ms": "BIGINT",
        },
        {
            "source_topic": "topic", "source_partition": "`partition`", "source_offset": "`offset`",
            "received_ms": "COALESCE(`timestamp_ms`, CAST(0 AS BIGINT))",  # the day of its partition
        },
    ),
    Archive(
        "audit", "ops.control_audit", ("control_id", "outcome"),
        {
            "schema_version": "INT", "control_id": _TEXT, "outcome": _TEXT, "revision": "BIGINT", "detail": _TEXT,
            "issued_by": _TEXT, "issued_at_ms": "BIGINT", "reason": _TEXT, "applied_at_ms": "BIGINT", "changes": _TEXT,
        },
        {},
    ),
    Archive(
        "labels", "raw.labels", ("label_id",),
        {
            "schema_version": "INT", "label_id": _TEXT, "transaction_id": _TEXT, "customer_id": _TEXT, "label": _TEXT,
            "source": _TEXT, "labelled_at_ms": "BIGINT", "labelled_by": _TEXT, "comment": _TEXT,
        },
        {},
        written_by_us=False,
        only="schema_version = 1 AND label_id IS NOT NULL AND transaction_id IS NOT NULL AND customer_id IS NOT NULL"
        " AND label IN ('fraud', 'genuine') AND source IS NOT NULL AND labelled_by IS NOT NULL"
        " AND labelled_at_ms BETWEEN 0 AND 253402300799999",
    ),
)  # fmt: skip

SOURCE_FIELDS: Final = {
    "decisions": {"source": "ROW<topic STRING, `partition` INT, `offset` BIGINT>", "variant": _TEXT},
    "alerts": {"variant": _TEXT},
    "dlq": {"topic": _TEXT, "partition": "INT", "offset": "BIGINT"},
}
"""JSON fields that no column has the name of, by topic."""
