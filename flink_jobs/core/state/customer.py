"""The state of one customer, and how a transaction changes it.

The state is bounded: 32 recent transactions, a histogram of hours, 4 currencies, 16 categories, one location. It is
stored as versioned bytes (see ``codec``), never as a pickled class, so a savepoint stays readable after any
refactoring. The lists of numbers are ``array``s: their bytes are copied as a whole, which halves the cost of encoding
and decoding.
"""

from array import array
from bisect import bisect_right
from hashlib import blake2b
from math import exp
from typing import Final, Self

from flink_jobs.core.features.table import USUAL_SURPRISE
from flink_jobs.core.state import codec
from flink_jobs.core.state.category_habits import category_key, log_amount
from flink_jobs.core.state.fields import HOUR, HOURS, MAX_CURRENCIES, RING_CAPACITY, StateFields, begin
from flink_jobs.core.state.running_stats import RunningStats
from flink_jobs.core.transaction import Transaction

HOUR_MS: Final = 3_600_000
_MAX_HOUR_COUNT: Final = 0xFFFF
_MAX_COUNT: Final = 0xFFFF_FFFF


class CustomerFraudState(StateFields):
    """Running statistics and recent history of one customer."""

    def __init__(self, stored: bytes | None = None) -> None:
        """Decode stored bytes of any released version; without bytes, create the state of a new customer.

        Raises:
            StateCorrupt: the bytes are too short, their length differs from the announced one, or their checksum does.
            StateVersionUnsupported: a newer release wrote the bytes.
        """
        if stored is None:
            begin(self)
        else:
            codec.decode_into(self, stored)

    @property
    def last_event_time_ms(self) -> int | None:
        """The latest event time, ``None`` for a new customer."""
        return self.recent_times_ms[-1] if self.recent_times_ms else None

    def has_seen(self, fingerprint: int) -> bool:
        """Return whether an id is among the last ``RING_CAPACITY`` ids: the transaction is then a duplicate."""
        return fingerprint in self.recent_ids

    def observe(
        self, transaction: Transaction, amount: float, fingerprint: int, surprise: float = USUAL_SURPRISE
    ) -> None:
        """Add one transaction; transactions may arrive in any order.

        Statistics do not depend on the order. Event times stay sorted, so a late transaction counts at its own time;
        the earliest one is removed when the ring is full. Ids are removed in order of arrival, so a late transaction
        that is delivered twice is still recognised. A location replaces only one with an earlier event time.

        Args:
            transaction: the transaction, which was scored against this state before.
            amount: its amount in major units of its currency.
            fingerprint: ``transaction_fingerprint`` of its id.
            surprise: its ``category_surprise``.
        """
        time_ms, currency = transaction.event_time_ms, transaction.currency
        self._remember(time_ms, fingerprint, surprise, self.typical_multiple(currency, amount))
        counts = self.hour_counts
        hour = time_ms // HOUR_MS % HOURS
        if counts[hour] == _MAX_HOUR_COUNT:
            self.hour_counts = counts = array(HOUR, [count // 2 for count in counts])
        counts[hour] += 1
        if currency not in self.amounts:
            self._start_currency(currency)
        logarithm = log_amount(amount)
        self.amounts[currency].push(amount)
        self.log_amounts[currency].push(logarithm)
        if transaction.category is not None:
            self.habits.push(category_key(transaction.category, currency), logarithm)
        latitude, longitude = transaction.latitude, transaction.longitude
        if (
            latitude is not None
            and longitude is not None
            and (self.located_at_ms is None or time_ms >= self.located_at_ms)
        ):
            self.located_at_ms, self.latitude, self.longitude = time_ms, latitude, longitude

    def typical_multiple(self, currency: str, amount: float) -> float:
        """Return an amount over the geometric mean of the customer's amounts; 1 for the first amount in a currency."""
        stats = self.log_amounts.get(currency)
        if stats is None:
            return 1.0
        return exp(log_amount(amount) - stats.mean)

    def _remember(self, time_ms: int, fingerprint: int, surprise: float, multiple: float) -> None:
        """Add the transaction to the ring of recent ones, and count it."""
        times, ids = self.recent_times_ms, self.recent_ids
        surprises, multiples = self.recent_surprises, self.recent_multiples
        if not times or time_ms >= times[-1]:
            times.append(time_ms)
            surprises.append(surprise)
            multiples.append(multiple)
        else:
            place = bisect_right(times, time_ms)
            times.insert(place, time_ms)
            surprises.insert(place, surprise)
            multiples.insert(place, multiple)
        ids.append(fingerprint)
        if len(times) > RING_CAPACITY:
            del times[0], ids[0], surprises[0], multiples[0]
        if self.first_seen_ms is None or time_ms < self.first_seen_ms:
            self.first_seen_ms = time_ms
        self.seen_count = min(self.seen_count + 1, _MAX_COUNT)

    def _start_currency(self, currency: str) -> None:
        if len(self.amounts) == MAX_CURRENCIES:
            rarest = min(self.amounts, key=lambda code: self.amounts[code].count)
            del self.amounts[rarest], self.log_amounts[rarest]
        self.amounts[currency] = RunningStats()
        self.log_amounts[currency] = RunningStats()

    def to_bytes(self) -> bytes:
        """Encode as the current version, in at most ``MAX_STATE_BYTES``."""
        return codec.encode(self)

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Return the state from bytes of this or an earlier release; raises the same errors as the constructor."""
        return cls(blob)


def transaction_fingerprint(transaction_id: str) -> int:
    """Return 64 bits of BLAKE2b of a transaction id.

    Two different ids among a customer's last 32 have the same fingerprint with a probability below 10^-16. The
    transaction would then go to the dead-letter topic as a duplicate, with its bytes, and not be lost.
    """
    return int.from_bytes(blake2b(transaction_id.encode(), digest_size=8).digest(), "little")
