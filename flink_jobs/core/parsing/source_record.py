"""Unpacks a Kafka record from the single string in which the detector receives it.

The JVM passes Python one string, because one string crosses the boundary much faster than a row of fields. Line feeds
separate the fields. The payload comes last and may hold any byte: it is decoded as ISO 8859-1, which maps the 256 byte
values to the first 256 code points and back without loss.

    partition LF offset LF timestamp LF headers LF key LF flag payload

``flag`` is ``V`` for a record with a value, ``N`` for a tombstone, and ``L`` for an oversized value. For ``L``,
``length LF SHA-256 LF beginning`` replace the payload: with a small heap, Flink needs hours to pass 50 MB from one task
to the next. A record of the topic of actions on accounts has its flag in small letters. ``headers`` is empty or a JSON
object of base64 values. ``key`` is the key by which Flink routed.

A producer controls the key, so the source must replace line feeds in it *before* it routes: otherwise a producer could
write the first bytes of the payload with its key. No customer id has a line feed, so such a record is rejected as
``KEY_MISMATCH``.
"""

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

_SECOND: Final = len("2026-11-21 03:46:16.")
_DECIMALS: Final = 3
_MOST_SECONDS: Final = 64
_seconds: dict[str, int | None] = {}
"""Time in ms by the text of a second, the latest ones."""


class WholePayload(NamedTuple):
    """Length and digest of the whole payload, of a record that is no ordinary transaction."""

    length: int
    """In bytes."""
    sha256: str
    """In hexadecimal."""
    is_action: bool = False
    """The record is an action on an account; its payload is complete if it has this length."""


class SourceRecord(NamedTuple):
    """One Kafka record with its coordinates."""

    payload: bytes | None
    partition: int
    offset: int
    timestamp: str
    """Kafka's timestamp as SQL text, ``2026-11-21 03:46:16.123`` (UTC); parsed only for dead letters."""
    headers: str
    routing_key: str
    topic: str
    whole: WholePayload | None = None
    """Set where ``payload`` is only the beginning of the value, and for every action on an account."""

    @property
    def timestamp_ms(self) -> int | None:
        """Kafka's record timestamp in ms since the epoch.

        ``None`` for a record without a timestamp, or with one outside of the calendar: a producer can send any 64-bit
        number.
        """
        text = self.timestamp
        rest = text[_SECOND:]
        if len(rest) == _DECIMALS and rest.isascii() and rest.isdigit() and text[_SECOND - 1] == ".":
            second_ms = _second_ms(text[:_SECOND])
            return None if second_ms is None else second_ms + int(rest)
        return _time_ms(text)

    @property
    def header_list(self) -> list[tuple[str, str | None]]:
        """Headers as (name, base64 value), sorted by name; one header "unreadable" if they are not a JSON object."""
        if not self.headers:
            return []
        try:
            # Postgres rejects NUL in text, so the replacement character replaces it in a header's name.
            return sorted((name.replace("\0", "\ufffd"), value) for name, value in orjson.loads(self.headers).items())
        except (ValueError, AttributeError):
            return [("unreadable", b64encode(self.headers.encode("utf-8", "replace")).decode("ascii"))]


def _second_ms(text: str) -> int | None:
    """Return the time of the beginning of a second, a text that ends with the decimal point.

    Records come in the order of their partition, so their seconds repeat. ``datetime`` takes 1 us.
    """
    known = _seconds.get(text, 0)
    if known == 0:
        if len(_seconds) >= _MOST_SECONDS:
            _seconds.clear()
        known = _seconds[text] = _time_ms(f"{text}000")
    return known


def _time_ms(text: str) -> int | None:
    if not text:
        return None
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


def unpack_line(line: bytes, topic: str, actions_topic: str = "") -> SourceRecord:
    """Return the record from the bytes that Java's source packed: the same fields, the text ones in UTF-8.

    Args:
        line: the packed bytes.
        topic: the topic of records whose flag is a capital letter.
        actions_topic: the topic of the others.

    Raises:
        ValueError: a field is missing or no UTF-8; this is a defect of the topology, not of the data.
    """
    partition, offset, timestamp, headers, routing_key, value = line.split(b"\n", 5)
    flag = value[:1]
    payload: bytes | None = value[1:]
    whole: WholePayload | None = None
    if flag != b"V":
        payload, whole = _unusual(flag, value[1:])
        if flag.islower():
            topic = actions_topic
    return SourceRecord(
        payload,
        int(partition),
        int(offset),
        timestamp.decode(),
        headers.decode(),
        routing_key.decode(),
        topic,
        whole,
    )


def unpack_record(line: str, topic: str, actions_topic: str = "") -> SourceRecord:
    """Return the record from the string that the source packed; ``unpack_line`` describes the topics.

    Raises:
        ValueError: a field is missing; this is a defect of the topology, not of the data.
    """
    partition, offset, timestamp, headers, routing_key, value = line.split("\n", 5)
    flag = value[:1]
    payload: bytes | None = value[1:].encode("latin-1")
    whole: WholePayload | None = None
    if flag != "V":
        payload, whole = _unusual(flag.encode("latin-1"), value[1:].encode("latin-1"))
        if flag.islower():
            topic = actions_topic
    return SourceRecord(payload, int(partition), int(offset), timestamp, headers, routing_key, topic, whole)


def _unusual(flag: bytes, value: bytes) -> tuple[bytes | None, WholePayload | None]:
    """Return the payload of a record without the flag ``V``, and what is known about the whole payload."""
    is_action = flag.islower()
    kind = flag.upper()
    if kind == b"L":
        length, digest, beginning = value.split(b"\n", 2)
        return beginning, WholePayload(int(length), digest.decode(), is_action)
    whole = WholePayload(len(value), sha256(value).hexdigest(), is_action) if is_action else None
    return (None if kind == b"N" else value), whole
