"""The fields of a customer's state; ``customer`` changes them, ``codec`` stores them."""

from array import array
from dataclasses import dataclass
from typing import Final

from flink_jobs.core.accounts.standing import AccountActions
from flink_jobs.core.state.category_habits import CategoryHabits
from flink_jobs.core.state.older_ids import OlderIds
from flink_jobs.core.state.running_stats import RunningStats

RING_CAPACITY: Final = 32
"""Number of recent transactions kept per customer, for velocity, bursts and the recognition of duplicates."""
MAX_CURRENCIES: Final = 4
"""Currencies whose amounts are tracked per customer; a fifth replaces the one used least."""
HOURS: Final = 24
TIME, ID, HOUR, MARK = "q", "Q", "H", "f"
"""Item types of the arrays: 8 bytes signed, 8 bytes unsigned, 2 bytes unsigned, 4 bytes float."""


@dataclass(init=False)
class StateFields:
    """The fields of a customer's state."""

    recent_times_ms: "array[int]"
    """The ``RING_CAPACITY`` latest event times, ascending (ms, UTC)."""
    recent_ids: "array[int]"
    """64-bit fingerprints of the last ``RING_CAPACITY`` transaction ids, in order of arrival."""
    hour_counts: "array[int]"
    """Transactions per hour of the day (UTC); all halved when one would overflow 16 bits."""
    amounts: dict[str, RunningStats]
    """Amounts in major units, per currency."""
    located_at_ms: int | None
    """Event time of the latest transaction that had a location, or ``None``."""
    latitude: float
    longitude: float
    recent_surprises: "array[float]"
    """``category_surprise`` of each recent transaction when it arrived, in the order of ``recent_times_ms``."""
    recent_multiples: "array[float]"
    """Amount of each recent transaction over the customer's geometric mean at that time, in the same order."""
    log_amounts: dict[str, RunningStats]
    """Logarithms of the amounts, for the same currencies as ``amounts``."""
    habits: CategoryHabits
    """Usual amounts per category."""
    first_seen_ms: int | None
    """Earliest event time, ``None`` for a new customer."""
    seen_count: int
    """Number of transactions since the first one."""
    in_order_count: int
    """Number of latest transactions, at most 255, that arrived in the order of their event times."""
    older: OlderIds | None
    """The remembered ids that have left ``recent_ids``; ``None`` without any, as for most customers."""
    actions: AccountActions | None
    """Actions of people on the account; ``None`` without any, as for almost every customer."""


def begin(state: StateFields) -> None:
    """Set every field to its value for a customer without history."""
    state.recent_times_ms = array(TIME)
    state.recent_ids = array(ID)
    state.hour_counts = array(HOUR, bytes(2 * HOURS))
    state.amounts = {}
    state.located_at_ms = None
    state.latitude = state.longitude = 0.0
    state.recent_surprises = array(MARK)
    state.recent_multiples = array(MARK)
    state.log_amounts = {}
    state.habits = CategoryHabits()
    state.first_seen_ms = None
    state.seen_count = 0
    state.in_order_count = 0
    state.older = None
    state.actions = None
