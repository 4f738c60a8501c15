"""A Kafka record as the detector receives it: one string per event.

The JVM hands Python a single string, because one string crosses the boundary much faster than a row of fields. Fields
are separated by line feeds, the payload comes last and may hold any byte: it is decoded as ISO 8859-1, which maps the
256 bytes to the first 256 code points and back without loss.

    partition LF offset LF timestamp LF headers LF key LF flag payload

``flag`` is ``V`` when the record has a value, ``N`` for a tombstone, and ``L`` for a value too large to be read, of
which ``length LF SHA-256 LF beginning`` follow: on a small heap, Flink needs hours to hand 50 MB from one task to the
next. ``headers`` is a JSON object of base64 values or empty; ``key`` is the key that Flink routed by. A key is foreign
text, so the source must take line feeds out of it *before* it routes by it (any other character will do: no customer id
holds a line feed, so such a record ends as ``KEY_MISMATCH`` either way). Otherwise a producer could write the payload's
first bytes with its key.
"""

from base64 import b64encode
from datetime import UTC, datetime
from typing import NamedTuple

import orjson


class WholePayload(NamedTuple):
    """What is known of a payload of which only the beginning was handed over."""

    length: int
    """In bytes."""
    sha256: str
    """In hexadecimal."""


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
    whole: WholePayload | None = None
    """Set where ``payload`` is only the beginning."""

    @property
    def timestamp_ms(self) -> int | None:
        """Kafka's record timestamp in ms since the epoch.

        ``None`` when the record had none, or one that no calendar holds: a producer may send any 64-bit number.
        """
        if not self.timestamp:
            return None
        try:
            return round(datetime.fromisoformat(self.timestamp).replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            return None

    @property
    def header_list(self) -> list[tuple[str, str | None]]:
        """Headers as (name, base64 value), sorted by name; one named "unreadable" if they are no JSON object."""
        if not self.headers:
            return []
        try:
            # Postgres takes no NUL in a text; a header's name is shown with the replacement character for it.
            return sorted((name.replace("\0", "\ufffd"), value) for name, value in orjson.loads(self.headers).items())
        except (ValueError, AttributeError):
            return [("unreadable", b64encode(self.headers.encode("utf-8", "replace")).decode("ascii"))]


def unpack_record(line: str, topic: str) -> SourceRecord:
    """Take apart what the source wrote.

    Raises:
        ValueError: the line does not have the fields; a defect of the topology, not of the data.
    """
    partition, offset, timestamp, headers, routing_key, value = line.split("\n", 5)
    flag, text, whole = value[:1], value[1:], None
    if flag == "L":
        length, digest, text = text.split("\n", 2)
        whole = WholePayload(int(length), digest)
    payload = text.encode("latin-1") if flag == "V" or whole is not None else None
    return SourceRecord(payload, int(partition), int(offset), timestamp, headers, routing_key, topic, whole)
