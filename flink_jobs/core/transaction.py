"""A valid card transaction, and the reason why a record is not one."""

from typing import NamedTuple

from flink_jobs.core.reasons import DeadLetterReason


class Transaction(NamedTuple):
    """One valid card transaction (wire contract ``transactions`` v2).

    This is a named tuple, not a frozen dataclass: both are immutable, and a named tuple is built four times faster. One
    is built per record.
    """

    transaction_id: str
    """Unique per customer, 1 to 64 characters, none of them a control character."""
    customer_id: str
    """The state key, 1 to 64 characters, none of them a control character."""
    amount_minor: int
    """Amount in minor units of ``currency`` (cents for USD), 0 to 10^12. Zero is a card verification."""
    currency: str
    """ISO 4217 alphabetic code."""
    event_time_ms: int
    """Time of the card use: milliseconds since 1970-01-01T00:00Z."""
    merchant: str | None = None
    category: str | None = None
    latitude: float | None = None
    """Degrees north, -90 to 90; both coordinates are set, or neither."""
    longitude: float | None = None
    """Degrees east, -180 to 180."""
    channel: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2, upper case."""
    terminal: str | None = None
    """Id of the point of sale, like the fields below since version 2 of the contract."""
    device: str | None = None
    """Id of the cardholder's device."""
    card: str | None = None
    """Token of the card, or ``****`` and the last four digits of a number that came in the clear."""
    ip: str | None = None
    """IP address in the form of ``ipaddress``."""


class Rejection(NamedTuple):
    """Why a record is not a valid transaction."""

    reason: DeadLetterReason
    detail: str
    """What is wrong, and where; never the value of a field, which may be card data."""
