"""Own features of an example bank; docs/own-features.md explains this module."""

from __future__ import annotations

from flink_jobs.core.own_features import Customer, Transaction, feature, major_amount

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
    times = [time_ms for time_ms in customer.recent_times_ms if time_ms <= transaction.event_time_ms]
    if not times:
        return None
    return min(3_650.0, (transaction.event_time_ms - times[-1]) / DAY_MS)


@feature(
    unit="ratio",
    low=0.0,
    high=1.0,
    neutral=0.5,
    absent="below 5 amounts in the currency",
    meaning="how round the amount is: 1 for whole hundreds, 0.5 for whole units, else 0, for a customer with history",
)
def roundness(customer: Customer, transaction: Transaction) -> float | None:
    amounts = customer.amounts(transaction.currency)
    if amounts is None or amounts.number < 5:
        return None
    amount = major_amount(transaction.amount_minor, transaction.currency)
    return 1.0 if amount % 100 == 0 else 0.5 if amount % 1 == 0 else 0.0


@feature(
    unit="0 or 1",
    low=0.0,
    high=1.0,
    neutral=0.0,
    absent="without a category",
    meaning="1 for a first purchase in this category by a customer who has bought in others",
)
def new_category(customer: Customer, transaction: Transaction) -> float | None:
    if transaction.category is None:
        return None
    known = customer.habit(transaction.category, transaction.currency)
    return 1.0 if known is None and customer.categorised > 0 else 0.0
