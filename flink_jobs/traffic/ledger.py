"""The sender's side of the reconciliation: every sent record, its coordinate in Kafka, and its expected outcome.

Every record has a coordinate (partition, offset) in the transactions topic, and every decision and dead letter names
the coordinate of its record. So the ledger holds one byte per coordinate: exact, and 10 MB for ten million records.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

import orjson

from flink_jobs.kafka.outgoing import Fate, Outgoing

Coordinate = tuple[int, int]  # (partition, offset)

FATES = (Fate.DECIDED, Fate.REJECTED, Fate.DUPLICATE)
NOTHING = 0  # no record was sent to this coordinate, or it has no outcome
FATE_CODE = {fate: code for code, fate in enumerate(FATES, start=1)}
FATE_OF_CODE = {code: fate for fate, code in FATE_CODE.items()}


class ByteMap:
    """One number from 0 to 255 per coordinate, 0 where none was set; a partition starts at its first used offset."""

    def __init__(self) -> None:
        """Start empty."""
        self._first: dict[int, int] = {}
        self._bytes: dict[int, bytearray] = {}

    def set(self, at: Coordinate, value: int) -> None:
        """Set the number (0 to 255) of a coordinate."""
        partition, offset = at
        cells = self._bytes.get(partition)
        if cells is None:
            self._first[partition] = offset
            cells = self._bytes[partition] = bytearray()
        index = offset - self._first[partition]
        if index < 0:  # an offset below the first one: make room in front
            cells[:0] = bytes(-index)
            self._first[partition] = offset
            index = 0
        if index >= len(cells):
            cells.extend(bytes(index + 1 - len(cells)))
        cells[index] = value

    def get(self, at: Coordinate) -> int:
        """Return the number of a coordinate."""
        partition, offset = at
        cells = self._bytes.get(partition)
        if cells is None:
            return NOTHING
        index = offset - self._first[partition]
        return cells[index] if 0 <= index < len(cells) else NOTHING

    def coordinates(self) -> list[Coordinate]:
        """Return every coordinate with a number, in order."""
        return [
            (partition, self._first[partition] + index)
            for partition, cells in sorted(self._bytes.items())
            for index, value in enumerate(cells)
            if value
        ]


@dataclass(frozen=True, slots=True)
class ExpectedLetter:
    """The reason that the dead letter of a record must have, and the bytes it must keep."""

    reason: str
    fault: str
    sha256: str
    length: int


@dataclass(slots=True)
class SentLedger:
    """Counts the records delivered to Kafka and keeps the expected outcome of each.

    Memory: one byte per record, plus about 300 bytes per malformed record and 100 per labelled fraud.
    """

    fates: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    expected: ByteMap = field(default_factory=ByteMap)
    letters: dict[Coordinate, ExpectedLetter] = field(default_factory=dict)
    frauds: dict[Coordinate, str | None] = field(default_factory=dict)
    labelled: int = 0
    bytes_sent: int = 0

    @property
    def sent(self) -> int:
        """Return the number of delivered records."""
        return sum(self.fates.values())

    def add(self, record: Outgoing, partition: int, offset: int) -> None:
        """Enter one delivered record."""
        at = (partition, offset)
        self.fates[record.fate.value] += 1
        self.bytes_sent += len(record.value or b"")
        self.expected.set(at, FATE_CODE[record.fate])
        if record.fault is not None:
            self.faults[record.fault] += 1
        if record.reason is not None:
            self.reasons[record.reason] += 1
            value = record.value or b""
            digest = hashlib.sha256(value).hexdigest()
            self.letters[at] = ExpectedLetter(record.reason, record.fault or "", digest, len(value))
        if record.label is not None:
            self.labelled += 1
            if record.label:
                self.frauds[at] = record.pattern

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON output."""
        return {
            "sent": self.sent,
            "bytes": self.bytes_sent,
            "fates": {fate.value: self.fates[fate.value] for fate in FATES},
            "reasons": dict(sorted(self.reasons.items())),
            "faults": dict(sorted(self.faults.items())),
            "labelled": self.labelled,
            "frauds": len(self.frauds),
        }


class LedgerFile:
    """Writes one JSON line per delivered record: its coordinate, its bytes and its expected outcome.

    A test compares dead letters with it byte for byte.
    """

    def __init__(self, stream: IO[bytes], topic: str) -> None:
        """Write to an open binary stream."""
        self._stream = stream
        self._topic = topic

    def add(self, record: Outgoing, partition: int, offset: int) -> None:
        """Write the line of one delivered record; only the payloads of malformed records are written in full."""
        keep = record.fate is Fate.REJECTED and record.value is not None
        line = {
            "topic": self._topic,
            "partition": partition,
            "offset": offset,
            "key": base64.b64encode(record.key).decode(),
            "fate": record.fate.value,
            "reason": record.reason,
            "fault": record.fault,
            "transaction_id": record.transaction_id,
            "event_time_ms": record.event_time_ms,
            "label": record.label,
            "pattern": record.pattern,
            "length": len(record.value or b""),
            "sha256": hashlib.sha256(record.value or b"").hexdigest(),
            "tombstone": record.value is None,
            "payload": base64.b64encode(record.value or b"").decode() if keep else None,
        }
        self._stream.write(orjson.dumps(line))
        self._stream.write(b"\n")
