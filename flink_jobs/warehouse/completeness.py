"""Whether what the detector has read of Kafka is in the raw tables, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

if TYPE_CHECKING:
    from flink_jobs.kafka.positions import PartitionPosition

# Records before the first one archived are not asked for: a job may have begun at the end of its topic, and retention
# drops old days. An incident is a note beside a record's outcome, not its outcome.
_MISSING: Final = """
    WITH partitions AS (
        SELECT * FROM unnest(%(partition)s::integer[], %(first)s::bigint[], %(read)s::bigint[])
            AS of_kafka (partition, first_offset, read_offset)
    ),
    outcomes AS (
        SELECT source_partition AS partition, source_offset FROM raw.decisions WHERE source_topic = %(topic)s
        UNION
        SELECT source_partition, source_offset FROM raw.dead_letters
        WHERE source_topic = %(topic)s AND disposition <> 'incident'
    ),
    asked AS (
        SELECT partition, read_offset, greatest(first_offset, min(source_offset)) AS from_offset
        FROM partitions LEFT JOIN outcomes USING (partition)
        GROUP BY partition, first_offset, read_offset
    )
    SELECT partition, greatest(0, read_offset - from_offset)
        - count(*) FILTER (WHERE source_offset BETWEEN from_offset AND read_offset - 1)
    FROM asked LEFT JOIN outcomes USING (partition)
    GROUP BY partition, read_offset, from_offset"""
_NOTE: Final = """
    INSERT INTO ops.kafka_positions (topic, partition, first_offset, end_offset, read_offset, waiting, missing)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (topic, partition) DO UPDATE SET
        first_offset = EXCLUDED.first_offset, end_offset = EXCLUDED.end_offset, read_offset = EXCLUDED.read_offset,
        waiting = EXCLUDED.waiting, missing = EXCLUDED.missing, observed_at = now()"""


class Compared(NamedTuple):
    """A partition and what raw lacks of it.

    Attributes:
        position: as it was in Kafka.
        missing: records the detector has read that have no decision and no dead letter; None of topics that are not
            its input.
    """

    position: PartitionPosition
    missing: int | None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, and nothing waits for the archive."""
        return not self.missing and (self.missing is not None or not self.position.waiting)


def compare(dsn: str, positions: Sequence[PartitionPosition], transactions: str) -> list[Compared]:
    """Compare Kafka with raw and note it in ``ops.kafka_positions``.

    Args:
        dsn: of the transformer.
        positions: of every partition.
        transactions: full name of the detector's input topic.
    """
    inputs = [item for item in positions if item.topic == transactions]
    parameters = {
        "topic": transactions,
        "partition": [item.partition for item in inputs],
        "first": [item.first_offset for item in inputs],
        "read": [item.first_offset if item.read_offset is None else item.read_offset for item in inputs],
    }
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        lacking: dict[int, int] = dict(cursor.execute(_MISSING, parameters).fetchall())
        compared = [
            Compared(item, lacking.get(item.partition, 0) if item.topic == transactions else None) for item in positions
        ]
        cursor.executemany(
            _NOTE,
            [
                (p.topic, p.partition, p.first_offset, p.end_offset, p.read_offset, p.waiting, missing)
                for p, missing in compared
            ],
        )
    return compared
