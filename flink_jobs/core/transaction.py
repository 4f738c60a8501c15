"""A card transaction as the job sees it once its bytes have been found good, or the reason why not."""

from typing import NamedTuple

from flink_jobs.core.reasons import DeadLetterReason


class Transaction(NamedTuple):
    """One valid card transaction (wire contract ``transactions`` v1).

    A named tuple and not a frozen dataclass: both are immutable, this one is built four times faster, and one
    is built per event.
    """

    transaction_id: str
    """Unique per customer, 1 to 64 printable characters."""
    customer_id: str
    """The state key, 1 to 64 printable characters."""
    amount_minor: int
    """Amount in minor units of ``currency`` (cents for USD), 0 to 10^12. Zero is a card verification."""
    currency: str
    """ISO 4217 alphabetic code."""
    event_time_ms: int
    """When the card was used: milliseconds since 1970-01-01T00:00Z."""
    merchant: str | None = None
    category: str | None = None
    latitude: float | None = None
    """Degrees north, -90 to 90; given together with ``longitude`` or not at all."""
    longitude: float | None = None
    """Degrees east, -180 to 180."""
    channel: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2, upper case."""


class Rejection(NamedTuple):
    """Why some bytes are not a transaction."""

    reason: DeadLetterReason
    detail: str
    """What was wrong and where, for a person; never holds the value of a field."""
