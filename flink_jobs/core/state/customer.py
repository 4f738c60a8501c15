"""The state of one customer, and how a transaction changes it.

The state is bounded: 32 recent transactions, a histogram of hours, 4 currencies, 16 categories, one location, and the
ids of older transactions inside the ``DuplicateWindow``. It is stored as versioned bytes (see ``codec``), never as a
pickled class, so a savepoint stays readable after any refactoring. The lists of numbers are ``array``s: their bytes are
copied as a whole, which halves the cost of encoding and decoding.
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
from flink_jobs.core.state.older_ids import DAY_MS, DEFAULT_WINDOW, DuplicateWindow, OlderIds
from flink_jobs.core.state.running_stats import RunningStats
from flink_jobs.core.transaction import Transaction

HOUR_MS: Final = 3_600_000
_MAX_HOUR_COUNT: Final = 0xFFFF
_MAX_COUNT: Final = 0xFFFF_FFFF
_MAX_IN_ORDER: Final = 0xFF


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

    def behind_ms(self, event_time_ms: int) -> int:
        """Return the time from an event to the customer's latest event; 0 when in order."""
        latest = self.last_event_time_ms
        return 0 if latest is None else max(0, latest - event_time_ms)

    def has_seen(self, fingerprint: int) -> bool:
        """Return whether an id is among the remembered ids: the transaction is then a duplicate."""
        if fingerprint in self.recent_ids:
            return True
        older = self.older
        return older is not None and older.holds(fingerprint)

    @property
    def older_bytes(self) -> int:
        """Memory of the ids that have left the ring, in bytes."""
        older = self.older
        return 0 if older is None else len(older.ids) + len(older.tags)

    def observe(
        self,
        transaction: Transaction,
        amount: float,
        fingerprint: int,
        surprise: float = USUAL_SURPRISE,
        window: DuplicateWindow = DEFAULT_WINDOW,
    ) -> None:
        """Add one transaction; transactions may arrive in any order.

        Statistics do not depend on the order. Event times stay sorted, so a late transaction counts at its own time;
        the earliest one is removed when the ring is full. Ids are removed in order of arrival, so a late transaction
        that is delivered twice is still recognised. An id that leaves the ring moves to ``older`` if the window covers
        it. A location replaces only one with an earlier event time.

        Args:
            transaction: the transaction, which was scored against this state before.
            amount: its amount in major units of its currency.
            fingerprint: ``transaction_fingerprint`` of its id.
            surprise: its ``category_surprise``.
            window: how long ids are remembered.
        """
        time_ms, currency = transaction.event_time_ms, transaction.currency
        self._remember(time_ms, fingerprint, surprise, self.typical_multiple(currency, amount), window)
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

    def _remember(
        self, time_ms: int, fingerprint: int, surprise: float, multiple: float, window: DuplicateWindow
    ) -> None:
        """Add the transaction to the ring of recent ones, and count it."""
        times, ids = self.recent_times_ms, self.recent_ids
        surprises, multiples = self.recent_surprises, self.recent_multiples
        if not times or time_ms >= times[-1]:
            times.append(time_ms)
            surprises.append(surprise)
            multiples.append(multiple)
            if self.in_order_count < _MAX_IN_ORDER:
                self.in_order_count += 1
        else:
            place = bisect_right(times, time_ms)
            times.insert(place, time_ms)
            surprises.insert(place, surprise)
            multiples.insert(place, multiple)
            self.in_order_count = 0
        ids.append(fingerprint)
        if len(times) > RING_CAPACITY:
            self._keep_older(window)
            del times[0], ids[0], surprises[0], multiples[0]
        if self.first_seen_ms is None or time_ms < self.first_seen_ms:
            self.first_seen_ms = time_ms
        self.seen_count = min(self.seen_count + 1, _MAX_COUNT)

    def _keep_older(self, window: DuplicateWindow) -> None:
        """Move the id that leaves the ring to ``older`` if the window covers it; delete ids outside the window.

        The ring does not store which time belongs to which id. If all its transactions arrived in order, the id that
        leaves belongs to the earliest time. Otherwise the newest time is used: the id is kept longer, never shorter.
        """
        times = self.recent_times_ms
        oldest_ms = times[-1] - window.days * DAY_MS
        time_ms = times[0] if self.in_order_count > RING_CAPACITY else times[-1]
        most = window.transactions - RING_CAPACITY
        older = self.older
        if older is None:
            if time_ms < oldest_ms or most <= 0:
                return
            older = self.older = OlderIds(codec.STATE_VERSION)
        if time_ms >= oldest_ms:
            older.add(self.recent_ids[0], time_ms)
        older.trim(oldest_ms, most)
        if not older.tags:
            self.older = None

    def _start_currency(self, currency: str) -> None:
        if len(self.amounts) == MAX_CURRENCIES:
            rarest = min(self.amounts, key=lambda code: self.amounts[code].count)
            del self.amounts[rarest], self.log_amounts[rarest]
        self.amounts[currency] = RunningStats()
        self.log_amounts[currency] = RunningStats()

    def to_bytes(self) -> bytes:
        """Encode as the current version, in at most ``max_state_bytes`` of the window."""
        return codec.encode(self)

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Return the state from bytes of this or an earlier release; raises the same errors as the constructor."""
        return cls(blob)


def transaction_fingerprint(transaction_id: str) -> int:
    """Return 64 bits of BLAKE2b of a transaction id.

    A new id has the fingerprint of one of 5,000 remembered ids with a probability below 3 * 10^-16: at 10,000
    transactions/s of customers who all have 5,000 ids, once in 11,000 years. The transaction would then go to the
    dead-letter topic as a duplicate, with its bytes, and not be lost.
    """
    return int.from_bytes(blake2b(transaction_id.encode(), digest_size=8).digest(), "little")
