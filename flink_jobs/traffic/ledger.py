"""The sender's side of the account: what was sent, where it landed, and what should become of it.

Every record has a coordinate (partition, offset) in the transactions topic, and every decision and dead letter names
the coordinate it answers. So the account is kept per coordinate, one byte each: exact, and 10 MB for ten million.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import orjson

from flink_jobs.errors import UserError
from flink_jobs.kafka.outgoing import Fate, Outgoing

if TYPE_CHECKING:
    from pathlib import Path

Coordinate = tuple[int, int]  # (partition, offset)

FATES = (Fate.DECIDED, Fate.REJECTED, Fate.DUPLICATE)
NOTHING = 0  # a byte of zero: nothing was sent to, or said about, this coordinate
FATE_CODE = {fate: code for code, fate in enumerate(FATES, start=1)}
FATE_OF_CODE = {code: fate for fate, code in FATE_CODE.items()}


class ByteMap:
    """One small number per coordinate, zero where none was set; each partition starts at its first offset used."""

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
        if index < 0:  # a record before the first one seen: make room in front
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
    """What the dead letter of a rejected record must say: its reason and the bytes it must keep."""

    reason: str
    fault: str
    sha256: str
    length: int


@dataclass(slots=True)
class SentLedger:
    """Counts what was delivered to Kafka and keeps what is expected of each record.

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
        """Return how many records were delivered."""
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
    """Writes one JSON line per delivered record: its coordinate, its bytes and what should become of it.

    A test compares dead letters byte for byte with it; ``read_ledger`` makes a `SentLedger` of it again.
    """

    def __init__(self, stream: IO[bytes], topic: str) -> None:
        """Write to an open binary stream."""
        self._stream = stream
        self._topic = topic

    def add(self, record: Outgoing, partition: int, offset: int) -> None:
        """Write the line of one delivered record; only rejected payloads, the unusual ones, are kept whole."""
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


def read_ledger(path: Path) -> SentLedger:
    """Read a ledger file back.

    Raises:
        UserError: the file is missing or a line of it is not a ledger line.
    """
    ledger = SentLedger()
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                _add_line(ledger, line, f"{path}, line {number}")
    except OSError as cause:
        what = f"{path} cannot be read ({cause.strerror})"
        raise UserError(what, "give the file that `streamflow replay --ledger` wrote") from None
    return ledger


def _add_line(ledger: SentLedger, line: bytes, where: str) -> None:
    try:
        entry = orjson.loads(line)
        record = Outgoing(
            key=base64.b64decode(entry["key"]),
            value=None if entry["payload"] is None else base64.b64decode(entry["payload"]),
            event_time_ms=entry["event_time_ms"],
            fate=Fate(entry["fate"]),
            transaction_id=entry["transaction_id"],
            reason=entry["reason"],
            fault=entry["fault"],
            label=entry["label"],
            pattern=entry["pattern"],
        )
        ledger.add(record, entry["partition"], entry["offset"])
        ledger.bytes_sent += entry["length"] - len(record.value or b"")
    except (KeyError, TypeError, ValueError) as cause:
        what = f"{where} is not a ledger line ({type(cause).__name__}: {cause})"
        raise UserError(what, "give the file that `streamflow replay --ledger` wrote") from None
