"""The table of each archived topic, and the SQL that writes messages to it.

Postgres parses the messages itself (``jsonb_to_record``), a whole batch in one statement. So one parser reads the JSON,
one set of types applies, and rows are rejected in one place.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Archive:
    """One topic and its table."""

    topic: str
    """Suffix of the topic."""
    table: str
    primary_key: tuple[str, ...]
    columns: dict[str, str]
    """Type of each column; the JSON field of the same name gives its value."""
    renamed: dict[str, str]
    """SQL expression of each column without such a field, over ``doc``, the message as ``jsonb``."""
    written_by_us: bool = True
    """Only our jobs write to the topic: if every row of a batch is rejected, the table is wrong, not the messages."""


_SCORES: Final = {"score": "double precision", "rule_score": "double precision", "ml_score": "double precision"}
_VERSIONS: Final = {
    "model": "text", "model_version": "text", "ruleset_version": "text", "config_revision": "bigint",
}  # fmt: skip
_MONEY: Final = {"amount_minor": "bigint", "currency": "text", "merchant": "text", "category": "text"}
_TIMES: Final = {"event_time_ms": "bigint", "processing_time_ms": "bigint"}
_PLACE: Final = {"source_topic": "text", "source_partition": "integer", "source_offset": "bigint"}

_VARIANT: Final = "coalesce(doc ->> 'variant', 'champion')"
"""Version 1 of decisions and alerts has no experiments; its messages are archived too."""

ARCHIVES: Final = (
    Archive(
        "decisions", "raw.decisions", ("customer_id", "transaction_id", "event_time_ms"),
        {
            "schema_version": "integer", "customer_id": "text", "transaction_id": "text", **_TIMES, **_MONEY,
            "channel": "text", "country": "text", **_SCORES, "alpha": "double precision",
            "threshold": "double precision", "is_alert": "boolean", "features": "jsonb", "absent": "jsonb",
            "reasons": "jsonb", **_VERSIONS, "variant": "text", "shadow": "jsonb", "out_of_order_ms": "bigint",
            **_PLACE,
        },
        {
            "source_topic": "doc #>> '{source,topic}'", "source_partition": "(doc #>> '{source,partition}')::integer",
            "source_offset": "(doc #>> '{source,offset}')::bigint", "variant": _VARIANT,
        },
    ),
    Archive(
        "alerts", "raw.alerts", ("alert_id", "event_time_ms"),
        {
            "schema_version": "integer", "alert_id": "text", "customer_id": "text", "transaction_id": "text",
            **_TIMES, **_MONEY, "country": "text", **_SCORES, "threshold": "double precision", "reasons": "jsonb",
            **_VERSIONS, "variant": "text", "contributions": "jsonb", "features": "jsonb",
        },
        {"variant": _VARIANT},
    ),
    Archive(
        "dlq", "raw.dead_letters", ("dlq_id", "received_ms"),
        {
            "schema_version": "integer", "dlq_id": "text", "disposition": "text", "reason": "text", "stage": "text",
            "detail": "text", **_PLACE, "timestamp_ms": "bigint", "headers": "jsonb", "payload": "text",
            "payload_encoding": "text", "payload_length": "bigint", "payload_sha256": "text",
            "payload_truncated": "boolean", "processing_time_ms": "bigint", "received_ms": "bigint",
        },
        {
            "source_topic": "doc ->> 'topic'", "source_partition": "(doc ->> 'partition')::integer",
            "source_offset": "(doc ->> 'offset')::bigint",
            "received_ms": "coalesce((doc ->> 'timestamp_ms')::bigint, 0)",  # selects the partition by day
        },
    ),
    Archive(
        "audit", "ops.control_audit", ("control_id", "outcome"),
        {
            "schema_version": "integer", "control_id": "text", "outcome": "text", "revision": "bigint",
            "detail": "text", "issued_by": "text", "issued_at_ms": "bigint", "reason": "text",
            "applied_at_ms": "bigint", "changes": "jsonb",
        },
        {},
    ),
    Archive(
        "labels", "raw.labels", ("label_id",),
        {
            "schema_version": "integer", "label_id": "text", "transaction_id": "text", "customer_id": "text",
            "label": "text", "source": "text", "labelled_at_ms": "bigint", "labelled_by": "text", "comment": "text",
        },
        {},
        written_by_us=False,
    ),
)  # fmt: skip

ARCHIVE_OF: Final = {archive.topic: archive for archive in ARCHIVES}
"""The archives by the suffix of their topic."""


def upsert_sql(archive: Archive) -> str:
    """Return the statement that writes messages, given as one ``text[]``; of several with one key, the last one wins.

    A decision carries the coordinates of its input record. Those of the earlier ones of several decisions with one key
    go to ``ops.superseded_decisions``, so that no input record seems to be without an outcome.

    The parameter is binary: quoting JSON for an array in text form would cost the client more than all other steps.
    """
    names = ", ".join(archive.columns)
    key = ", ".join(archive.primary_key)
    cells = ", ".join(f"{archive.renamed.get(name, f'field.{name}')} AS {name}" for name in archive.columns)
    fields = ", ".join(f"{name} {kind}" for name, kind in archive.columns.items() if name not in archive.renamed)
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in archive.columns)
    superseded = _SUPERSEDED.format(key=key) if archive.topic == "decisions" else ""
    return f"""
        WITH row_of AS (
            SELECT {cells}, number
            FROM unnest(%b::text[]) WITH ORDINALITY AS message (body, number),
                LATERAL (SELECT body::jsonb) AS parsed (doc),
                LATERAL jsonb_to_record(doc) AS field ({fields})
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
