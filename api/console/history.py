"""A customer's stored decisions and what is normal for the customer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Final

from api.database import Database

DAY_MS: Final = 86_400_000
HISTORY_DAYS: Final = 90
MOST_ROWS: Final = 1_000
_MOST_SHOWN: Final = 3
_ROWS: Final = """
    SELECT d.transaction_id, d.event_time_ms, d.amount_minor, d.currency, d.merchant, d.category, d.country, d.score,
        d.is_alert, d.absent ->> 'geo_speed_kmh' IS DISTINCT FROM 'no_location' AS is_located,
        (SELECT l.label FROM raw.labels l
            WHERE l.customer_id = d.customer_id AND l.transaction_id = d.transaction_id
            ORDER BY l.labelled_at_ms DESC, l.label_id DESC LIMIT 1) AS label
    FROM raw.decisions d
    WHERE d.customer_id = %(customer)s AND d.event_time_ms BETWEEN %(from_ms)s AND %(until_ms)s
    ORDER BY d.event_time_ms DESC, d.transaction_id DESC LIMIT %(limit)s
"""
_NEWEST: Final = "SELECT max(event_time_ms) AS newest FROM raw.decisions WHERE customer_id = %(customer)s"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One stored decision of a customer."""

    transaction_id: str
    event_time_ms: int
    amount_minor: int
    currency: str
    merchant: str | None
    category: str | None
    country: str | None
    score: float
    is_alert: bool
    label: str | None
    """``fraud`` or ``genuine``; ``None`` without a label."""
    is_located: bool = True
    """Whether the transaction had coordinates; decisions have none, only the reason for an absent speed."""

    @property
    def hour(self) -> int:
        """The hour of the day in UTC."""
        return datetime.fromtimestamp(self.event_time_ms / 1_000, UTC).hour


@dataclass(frozen=True, slots=True)
class Normal:
    """What is usual for a customer, from the purchases before one transaction.

    Attributes:
        purchases: number of purchases that the other values are based on.
        days: days from the first of them to the transaction, at least 1.
        median_minor: median amount in the currency of the transaction; ``None`` without such a purchase.
        hours: purchases by hour of the day (UTC), 24 values.
        categories: the most frequent categories with their share, at most three.
        countries: the most frequent countries with their share, at most three.
    """

    purchases: int
    days: float
    median_minor: float | None
    hours: tuple[int, ...]
    categories: tuple[tuple[str, float], ...]
    countries: tuple[tuple[str, float], ...]

    @property
    def per_day(self) -> float:
        """Purchases per day."""
        return self.purchases / self.days


class Histories:
    """Reads the decisions of customers."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database

    async def before(self, customer: str, until_ms: int) -> list[Purchase]:
        """Return the purchases of the 90 days up to a time, newest first, at most 1,000."""
        parameters = {
            "customer": customer,
            "from_ms": until_ms - HISTORY_DAYS * DAY_MS,
            "until_ms": until_ms,
            "limit": MOST_ROWS,
        }
        return [Purchase(**row) for row in await self._database.rows(_ROWS, parameters)]

    async def newest_ms(self, customer: str) -> int | None:
        """Return the event time of a customer's newest decision, ``None`` for a customer without decisions."""
        rows = await self._database.rows(_NEWEST, {"customer": customer})
        newest: int | None = rows[0]["newest"] if rows else None
        return newest


def normal_of(purchases: Sequence[Purchase], at_ms: int, currency: str) -> Normal:
    """Return what is normal for a customer before a transaction.

    Args:
        purchases: of the customer, in any order; those at or after ``at_ms`` and those labelled as fraud are left out.
        at_ms: event time of the transaction.
        currency: currency of the transaction.
    """
    earlier = [item for item in purchases if item.event_time_ms < at_ms and item.label != "fraud"]
    amounts = [item.amount_minor for item in earlier if item.currency == currency]
    hours = Counter(item.hour for item in earlier)
    first = min((item.event_time_ms for item in earlier), default=at_ms)
    return Normal(
        purchases=len(earlier),
        days=max(1.0, (at_ms - first) / DAY_MS),
        median_minor=median(amounts) if amounts else None,
        hours=tuple(hours[hour] for hour in range(24)),
        categories=_shares([item.category for item in earlier]),
        countries=_shares([item.country for item in earlier]),
    )


def _shares(values: Sequence[str | None]) -> tuple[tuple[str, float], ...]:
    known = [value for value in values if value]
    return tuple((name, count / len(known)) for name, count in Counter(known).most_common(_MOST_SHOWN))
