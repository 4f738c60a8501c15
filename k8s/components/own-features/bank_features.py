"""An example of own features (docs/own-features.md): replace this module by yours."""

from __future__ import annotations

from flink_jobs.core.own_features import Customer, Transaction, feature

DAY_MS = 86_400_000


@feature(
    unit="days",
    low=0.0,
    high=3_650.0,
    neutral=30.0,
    absent="for a new customer",
    meaning="time since the customer's latest transaction before this one",
)
def quiet_days(customer: Customer, transaction: Transaction) -> float | None:
    """Return the days since the latest earlier transaction."""
    times = [time_ms for time_ms in customer.recent_times_ms if time_ms <= transaction.event_time_ms]
    if not times:
        return None
    return min(3_650.0, (transaction.event_time_ms - times[-1]) / DAY_MS)
