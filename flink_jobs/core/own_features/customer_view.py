"""The statistics of a customer as own features see them: read-only, without the transaction that is being scored."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.core.state.category_habits import category_key

if TYPE_CHECKING:
    from flink_jobs.core.state.customer import CustomerFraudState


class Amounts(NamedTuple):
    """The amounts of a customer in one currency, in major units; logarithms are ``math.log1p`` of the amount."""

    number: int
    """Transactions with such an amount."""
    mean: float
    std: float | None
    """Sample standard deviation; ``None`` below two amounts, like ``log_std``."""
    log_mean: float
    log_std: float | None


class Habit(NamedTuple):
    """The amounts of a customer in one category and currency; old purchases lose weight."""

    number: int
    """Purchases, at most 200."""
    log_mean: float
    """Mean of ``math.log1p`` of the amount in major units."""
    log_std: float | None
    """Sample standard deviation of the same; ``None`` below two purchases."""


class Location(NamedTuple):
    """The last known location of a customer."""

    time_ms: int
    latitude: float
    longitude: float


class Customer:
    """The statistics of one customer before a transaction. Valid during the call of a feature only.

    Transactions can arrive late, so event times here can be later than that of the transaction.
    """

    __slots__ = ("_state",)

    def __init__(self, state: CustomerFraudState) -> None:
        """Show a state."""
        self._state = state

    @property
    def transactions(self) -> int:
        """Number of all transactions so far."""
        return self._state.seen_count

    @property
    def first_time_ms(self) -> int | None:
        """Earliest event time, UTC milliseconds; ``None`` for a new customer."""
        return self._state.first_seen_ms

    @property
    def last_time_ms(self) -> int | None:
        """Latest event time, UTC milliseconds; ``None`` for a new customer."""
        return self._state.last_event_time_ms

    @property
    def recent_times_ms(self) -> tuple[int, ...]:
        """Event times of the last 32 transactions, earliest first."""
        return tuple(self._state.recent_times_ms)

    @property
    def recent_multiples(self) -> tuple[float, ...]:
        """For each of these, its amount divided by the geometric mean of the customer's amounts at that time."""
        return tuple(self._state.recent_multiples)

    @property
    def recent_surprises(self) -> tuple[float, ...]:
        """For each of these, its feature ``category_surprise``; 0.8 where that was absent."""
        return tuple(self._state.recent_surprises)

    @property
    def hour_counts(self) -> tuple[int, ...]:
        """Transactions in each of the 24 hours of the day, UTC; all are halved when one reaches 65,535."""
        return tuple(self._state.hour_counts)

    @property
    def currencies(self) -> tuple[str, ...]:
        """Currencies with statistics, at most 4."""
        return tuple(self._state.amounts)

    def amounts(self, currency: str) -> Amounts | None:
        """Return the statistics of the amounts in a currency; ``None`` without any."""
        stats = self._state.amounts.get(currency)
        if stats is None:
            return None
        logs = self._state.log_amounts[currency]
        return Amounts(stats.count, stats.mean, _std(stats.count, stats.m2), logs.mean, _std(logs.count, logs.m2))

    @property
    def categories(self) -> int:
        """Number of categories (in a currency) with statistics, at most 16."""
        return len(self._state.habits.keys)

    @property
    def categorised(self) -> int:
        """Purchases in all these categories, at most 200 in each."""
        return sum(self._state.habits.counts)

    def habit(self, category: str | None, currency: str) -> Habit | None:
        """Return the statistics of a category in a currency; ``None`` without any, and without a category."""
        habits = self._state.habits
        place = -1 if category is None else habits.place(category_key(category, currency))
        if place < 0:
            return None
        count = habits.counts[place]
        return Habit(count, habits.means[place], _std(count, habits.m2s[place]))

    @property
    def location(self) -> Location | None:
        """The location with the latest event time; ``None`` if no transaction had one."""
        state = self._state
        if state.located_at_ms is None:
            return None
        return Location(state.located_at_ms, state.latitude, state.longitude)


def _std(count: int, squares: float) -> float | None:
    return sqrt(max(squares, 0.0) / (count - 1)) if count > 1 else None
