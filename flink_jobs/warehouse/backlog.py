"""Which records that a job has not committed have their row all the same.

Flink commits the offsets of a job after a checkpoint, and a job that stops with a savepoint ends before that commit
arrives. So a committed offset can be older than the rows. A record is archived if the table holds the row of its key;
a decision, which can be replaced by a later one, only if the row (or ``ops.superseded_decisions``) has its coordinates.
A record that the archive rejected is archived if its dead letter is.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson
import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flink_jobs.kafka.consumer import Position, Record
    from flink_jobs.kafka.positions import PartitionPosition

BATCH: Final = 2_000

_HAS_ROW: Final = {
    "transactions": """
        EXISTS (SELECT FROM raw.decisions AS found
                WHERE found.customer_id = doc ->> 'customer_id' AND found.transaction_id = doc ->> 'transaction_id'
                    AND found.event_time_ms = (doc ->> 'event_time_ms')::bigint
                    AND (found.source_topic, found.source_partition, found.source_offset)
                        = (asked.topic, asked.partition, asked.at))
        OR EXISTS (SELECT FROM ops.superseded_decisions AS found
                WHERE (found.source_topic, found.source_partition, found.source_offset)
                    = (asked.topic, asked.partition, asked.at))""",
    "decisions": """
        EXISTS (SELECT FROM raw.decisions AS found
                WHERE found.customer_id = doc ->> 'customer_id' AND found.transaction_id = doc ->> 'transaction_id'
                    AND found.event_time_ms = (doc ->> 'event_time_ms')::bigint
                    AND found.source_topic = doc #>> '{source,topic}'
                    AND found.source_partition = (doc #>> '{source,partition}')::bigint
                    AND found.source_offset = (doc #>> '{source,offset}')::bigint)
        OR EXISTS (SELECT FROM ops.superseded_decisions AS found
                WHERE found.source_topic = doc #>> '{source,topic}'
                    AND found.source_partition = (doc #>> '{source,partition}')::bigint
                    AND found.source_offset = (doc #>> '{source,offset}')::bigint)""",
    "alerts": """
        EXISTS (SELECT FROM raw.alerts AS found
                WHERE found.alert_id = doc ->> 'alert_id'
                    AND found.event_time_ms = (doc ->> 'event_time_ms')::bigint)""",
    "dlq": """
        EXISTS (SELECT FROM raw.dead_letters AS found
                WHERE found.dlq_id = doc ->> 'dlq_id'
                    AND found.received_ms = coalesce((doc ->> 'timestamp_ms')::bigint, 0))""",
    "audit": """
        EXISTS (SELECT FROM ops.control_audit AS found
                WHERE found.control_id = doc ->> 'control_id' AND found.outcome = doc ->> 'outcome')""",
    "labels": """
        EXISTS (SELECT FROM raw.labels AS found WHERE found.label_id = doc ->> 'label_id')""",
    "user-actions": """
        EXISTS (SELECT FROM raw.user_actions AS found WHERE found.action_id = doc ->> 'action_id')""",
}
"""Whether a record has its row, by suffix of its topic. ``asked`` holds the record, ``doc`` the fields of its key."""
_REJECTED: Final = """
        EXISTS (SELECT FROM raw.dead_letters AS found
                WHERE (found.stage = 'archive' OR found.disposition <> 'incident' OR found.reason = 'ACTION_INVALID')
                    AND (found.source_topic, found.source_partition, found.source_offset)
                        = (asked.topic, asked.partition, asked.at))"""
_TEXTS: Final = (
    "customer_id",
    "transaction_id",
    "alert_id",
    "dlq_id",
    "control_id",
    "outcome",
    "label_id",
    "action_id",
)
_NUMBERS: Final = ("event_time_ms", "timestamp_ms")


def without_row(
    dsn: str, positions: Iterable[PartitionPosition], suffixes: Mapping[str, str], records: Iterable[Record]
) -> list[PartitionPosition]:
    """Return positions whose ``waiting`` counts only records without a row.

    Args:
        dsn: connection string of the transformer.
        positions: of every partition.
        suffixes: suffix of each topic by its full name.
        records: the waiting ones; the number of a partition without any of them is left as it is.
    """
    archived: Counter[Position] = Counter()
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        waiting = iter(records)
        while batch := list(islice(waiting, BATCH)):
            by_topic: dict[str, list[Record]] = {}
            for record in batch:
                by_topic.setdefault(record.topic, []).append(record)
            for topic, some in by_topic.items():
                cursor.execute(_query(suffixes[topic]), _parameters(some))
                archived.update((topic, partition) for (partition,) in cursor.fetchall())
    return [item._replace(waiting=max(0, item.waiting - archived[item.topic, item.partition])) for item in positions]


def _query(suffix: str) -> bytes:
    """Return the query for the partition of each record that has its row or its dead letter."""
    return f"""
        SELECT asked.partition
        FROM unnest(%(topic)s::text[], %(partition)s::integer[], %(at)s::bigint[], %(doc)s::text[])
            AS asked (topic, partition, at, body), LATERAL (SELECT asked.body::jsonb) AS parsed (doc)
        WHERE {_HAS_ROW[suffix]} OR {_REJECTED}""".encode()  # noqa: S608 - our own names


def _parameters(records: Sequence[Record]) -> dict[str, list[Any]]:
    return {
        "topic": [item.topic for item in records],
        "partition": [item.partition for item in records],
        "at": [item.offset for item in records],
        "doc": [key_fields(item.value) for item in records],
    }


def key_fields(value: bytes | None) -> str:
    """Return the fields of a message that identify its row, as JSON that Postgres accepts.

    Fields of another type, and texts with NUL, are left out: the archive rejects such a message.
    """
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return "{}"
    if not isinstance(document, dict):
        return "{}"
    fields: dict[str, Any] = _typed(document, _TEXTS, _NUMBERS)
    if isinstance(document.get("source"), dict):
        fields["source"] = _typed(document["source"], ("topic",), ("partition", "offset"))
    return orjson.dumps(fields).decode()


def _typed(document: dict[str, Any], texts: Sequence[str], numbers: Sequence[str]) -> dict[str, Any]:
    """Return the texts without NUL and the whole numbers of 64 bits of a document."""
    found = {name: document.get(name) for name in (*texts, *numbers)}
    held: dict[str, Any] = {}
    for name, value in found.items():
        is_text = name in texts and isinstance(value, str) and "\0" not in value
        if is_text or (name in numbers and type(value) is int and abs(value) < 1 << 63):
            held[name] = value
    return held
