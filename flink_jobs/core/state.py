"""What the job remembers of one customer, and its bytes in RocksDB.

The state is bounded: one ring of recent transactions, one histogram of hours, a handful of currencies, one place.
It is stored as our own versioned bytes, never as a pickled class, so a savepoint outlives any refactoring:

    version (u8) | crc32 of version and body (u32) | body

The header never changes, so a damaged version byte is told from a newer release. A version is decoded forever once
released (golden blobs in the tests hold that). Bytes that fail their checksum are ``StateCorrupt``; bytes of a newer
version are ``StateVersionUnsupported`` and are left as they are.

The lists of numbers are ``array``s: their bytes are copied in and out as a whole, which halves the cost of a state.
"""

import struct
import sys
import zlib
from array import array
from bisect import insort_right
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Self

from flink_jobs.core.running_stats import RunningStats
from flink_jobs.core.transaction import Transaction

STATE_VERSION: Final = 1
RING_CAPACITY: Final = 32
"""Recent transactions kept per customer, for velocity and for recognising redelivered ones."""
MAX_CURRENCIES: Final = 4
"""Currencies whose amounts are tracked per customer; a fifth takes the place of the one used least."""
HOURS: Final = 24
_MAX_HOUR_COUNT: Final = 0xFFFF
_NEVER: Final = -(2**63)

_HEADER: Final = struct.Struct("<BI")
_FIXED: Final = struct.Struct("<qdd48sBB")
"""Time and place of the last location, the hours, the lengths of ring and currencies."""
_CURRENCY: Final = struct.Struct("<3sqdd")
_TIME, _ID, _HOUR = "q", "Q", "H"
"""Item types of the arrays: 8 bytes signed, 8 bytes unsigned, 2 bytes unsigned."""
MAX_STATE_BYTES: Final = _HEADER.size + _FIXED.size + 16 * RING_CAPACITY + MAX_CURRENCIES * _CURRENCY.size
"""No customer's state is larger."""
if sys.byteorder != "little":  # pragma: no cover - no machine we could run on
    raise ImportError("the stored arrays are little-endian; give them a byteswap() before running on this machine")


class StateError(Exception):
    """The stored bytes of a customer cannot be used; the message says why."""


class StateCorrupt(StateError):  # noqa: N818 - it names what the bytes are
    """The bytes are damaged: the customer restarts fresh and the incident is recorded."""


class StateVersionUnsupported(StateError):  # noqa: N818 - same
    """The bytes were written by a newer release: they are kept, and the event is set aside for redrive."""


@dataclass
class CustomerFraudState:
    """Running statistics and recent history of one customer."""

    recent_times_ms: "array[int]" = field(default_factory=lambda: array(_TIME))
    """The ``RING_CAPACITY`` latest event times, ascending (ms, UTC)."""
    recent_ids: "array[int]" = field(default_factory=lambda: array(_ID))
    """64-bit fingerprints of the last ``RING_CAPACITY`` transaction ids, in order of arrival."""
    hour_counts: "array[int]" = field(default_factory=lambda: array(_HOUR, bytes(2 * HOURS)))
    """Transactions per hour of the day (UTC); all halved when one would overflow 16 bits."""
    amounts: dict[str, RunningStats] = field(default_factory=dict)
    """Amounts in major units, per currency."""
    located_at_ms: int | None = None
    """Event time of the latest transaction that had a location, or ``None``."""
    latitude: float = 0.0
    longitude: float = 0.0

    @property
    def last_event_time_ms(self) -> int | None:
        """The latest event time seen, or ``None`` for a new customer."""
        return self.recent_times_ms[-1] if self.recent_times_ms else None

    def has_seen(self, fingerprint: int) -> bool:
        """Tell whether a transaction id is among the recent ones (a redelivery)."""
        return fingerprint in self.recent_ids

    def observe(self, transaction: Transaction, amount: float, fingerprint: int) -> None:
        """Take one transaction into the history, in whatever order it arrives.

        Statistics do not depend on order. Event times stay sorted, so a late event is counted where it belongs, and
        the earliest leaves when there is no room; ids leave in order of arrival, so a late event that is delivered
        twice is still recognised. A place replaces an earlier one only.

        Args:
            transaction: the transaction, already scored against the state before it.
            amount: its amount in major units of its currency.
            fingerprint: ``transaction_fingerprint`` of its id.
        """
        time_ms = transaction.event_time_ms
        times, ids = self.recent_times_ms, self.recent_ids
        if not times or time_ms >= times[-1]:
            times.append(time_ms)
        else:
            insort_right(times, time_ms)
        ids.append(fingerprint)
        if len(times) > RING_CAPACITY:
            del times[0], ids[0]
        counts = self.hour_counts
        hour = time_ms // 3_600_000 % HOURS
        if counts[hour] == _MAX_HOUR_COUNT:
            self.hour_counts = counts = array(_HOUR, [count // 2 for count in counts])
        counts[hour] += 1
        stats = self.amounts.get(transaction.currency)
        if stats is None:
            stats = self._start_currency(transaction.currency)
        stats.push(amount)
        latitude, longitude = transaction.latitude, transaction.longitude
        if (
            latitude is not None
            and longitude is not None
            and (self.located_at_ms is None or time_ms >= self.located_at_ms)
        ):
            self.located_at_ms, self.latitude, self.longitude = time_ms, latitude, longitude

    def _start_currency(self, currency: str) -> RunningStats:
        if len(self.amounts) == MAX_CURRENCIES:
            del self.amounts[min(self.amounts, key=lambda code: self.amounts[code].count)]
        stats = self.amounts[currency] = RunningStats()
        return stats

    def to_bytes(self) -> bytes:
        """Encode as the current version, in at most ``MAX_STATE_BYTES``."""
        located_at_ms = self.located_at_ms
        parts = [
            _FIXED.pack(
                _NEVER if located_at_ms is None else located_at_ms,
                self.latitude,
                self.longitude,
                self.hour_counts.tobytes(),
                len(self.recent_times_ms),
                len(self.amounts),
            ),
            self.recent_times_ms.tobytes(),
            self.recent_ids.tobytes(),
        ]
        parts += [
            _CURRENCY.pack(currency.encode(), stats.count, stats.mean, stats.m2)
            for currency, stats in self.amounts.items()
        ]
        body = b"".join(parts)
        return _HEADER.pack(STATE_VERSION, zlib.crc32(body, STATE_VERSION)) + body

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Decode any released version.

        Raises:
            StateCorrupt: too short, of the wrong length for what it announces, or the checksum differs.
            StateVersionUnsupported: written by a release newer than this one.
        """
        if len(blob) < _HEADER.size:
            raise StateCorrupt(f"{len(blob)} bytes, shorter than the header")
        version, checksum = _HEADER.unpack_from(blob)
        body = blob[_HEADER.size :]
        if zlib.crc32(body, version) != checksum:
            raise StateCorrupt(f"checksum of {len(blob)} bytes differs")
        if version > STATE_VERSION:
            raise StateVersionUnsupported(
                f"state version {version} is not among those this release reads (up to {STATE_VERSION})"
            )
        if version == 0:  # five bytes of zero pass their own checksum
            raise StateCorrupt("state version 0 was never written")
        try:
            return cls._decode_v1(body)
        except (struct.error, ValueError) as error:
            raise StateCorrupt(f"body of {len(body)} bytes does not hold what it announces") from error

    @classmethod
    def _decode_v1(cls, body: bytes) -> Self:
        located_at_ms, latitude, longitude, hours, n_recent, n_currencies = _FIXED.unpack_from(body)
        ids_at = _FIXED.size + 8 * n_recent
        currency_at = ids_at + 8 * n_recent
        if n_recent > RING_CAPACITY or len(body) != currency_at + n_currencies * _CURRENCY.size:
            raise ValueError("length")
        amounts = {}
        for offset in range(currency_at, len(body), _CURRENCY.size):
            code, count, mean, m2 = _CURRENCY.unpack_from(body, offset)
            amounts[code.decode()] = RunningStats(count, mean, m2)
        return cls(
            array(_TIME, body[_FIXED.size : ids_at]),
            array(_ID, body[ids_at:currency_at]),
            array(_HOUR, hours),
            amounts,
            None if located_at_ms == _NEVER else located_at_ms,
            latitude,
            longitude,
        )


def transaction_fingerprint(transaction_id: str) -> int:
    """Return 64 bits of BLAKE2b of a transaction id.

    Two different ids among a customer's last 32 collide with a chance below 10^-16; the event would then go to the
    dead-letter topic as a duplicate with all its bytes, so even that loses nothing.
    """
    return int.from_bytes(blake2b(transaction_id.encode(), digest_size=8).digest(), "little")
