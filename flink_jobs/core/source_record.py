"""A Kafka record as the detector receives it: one string per event.

The JVM hands Python a single string, because one string crosses the boundary much faster than a row of fields. Fields
are separated by line feeds, the payload comes last and may hold any byte: it is decoded as ISO 8859-1, which maps the
256 bytes to the first 256 code points and back without loss.

    partition LF offset LF timestamp LF headers LF key LF flag payload

``flag`` is ``V`` when the record has a value and ``N`` for a tombstone; ``headers`` is a JSON object of base64 values
or empty; ``key`` is the key that Flink routed by.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import orjson


class SourceRecord(NamedTuple):
    """One record of the transactions topic with its coordinates."""

    payload: bytes | None
    partition: int
    offset: int
    timestamp: str
    """Kafka's timestamp as SQL text, ``2026-11-21 03:46:16.123`` (UTC); parsed only for dead letters."""
    headers: str
    routing_key: str
    topic: str

    @property
    def timestamp_ms(self) -> int | None:
        """Kafka's record timestamp in ms since the epoch, ``None`` when the record had none."""
        if not self.timestamp:
            return None
        return round(datetime.fromisoformat(self.timestamp).replace(tzinfo=UTC).timestamp() * 1000)

    @property
    def header_list(self) -> list[tuple[str, str]]:
        """Headers as (name, base64 value), sorted by name."""
        return sorted(orjson.loads(self.headers).items()) if self.headers else []


def unpack_record(line: str, topic: str) -> SourceRecord:
    """Take apart what the source wrote.

    Raises:
        ValueError: the line does not have the fields; a defect of the topology, not of the data.
    """
    partition, offset, timestamp, headers, routing_key, value = line.split("\n", 5)
    payload = value[1:].encode("latin-1") if value[:1] == "V" else None
    return SourceRecord(payload, int(partition), int(offset), timestamp, headers, routing_key, topic)


def pack_record(record: SourceRecord) -> str:
    """Write a record the way the source does (for tests and tools that feed the detector directly)."""
    value = "N" if record.payload is None else "V" + record.payload.decode("latin-1")
    fields = (str(record.partition), str(record.offset), record.timestamp, record.headers, record.routing_key, value)
    return "\n".join(fields)
