"""What the job of merchants reads: decisions and labels. Each becomes an event of one merchant, or a reason."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import label_problem
from flink_jobs.core.state.customer import transaction_fingerprint

UNREADABLE: Final = "unreadable"
NO_MERCHANT: Final = "no_merchant"


class Purchase(NamedTuple):
    """A scored transaction at a merchant."""

    merchant: str
    time_ms: int
    amount: float
    """In major units."""


class MerchantLabel(NamedTuple):
    """A label of a transaction at a merchant."""

    merchant: str
    fingerprint: int
    """64 bits that identify the transaction."""
    time_ms: int
    """Event time of the transaction."""
    is_fraud: bool


def read_purchase(payload: bytes) -> Purchase | str:
    """Return the purchase in a decision, ``NO_MERCHANT``, or ``UNREADABLE`` for bytes that are no decision."""
    try:
        document: dict[str, Any] = orjson.loads(payload)
        merchant, time_ms = document["merchant"], document["event_time_ms"]
        if merchant is None:
            return NO_MERCHANT
        amount = major_amount(document["amount_minor"], document["currency"])
    except (ValueError, KeyError, TypeError):
        return UNREADABLE
    if type(merchant) is not str or not merchant or type(time_ms) is not int:
        return UNREADABLE
    return Purchase(merchant, time_ms, amount)


def read_merchant_label(payload: bytes) -> MerchantLabel | str:
    """Return the label in a message; ``NO_MERCHANT`` for one of version 1, ``UNREADABLE`` for no valid label."""
    if label_problem(payload) is not None:
        return UNREADABLE
    document = orjson.loads(payload)
    merchant, time_ms = document.get("merchant"), document.get("event_time_ms")
    if merchant is None or time_ms is None:
        return NO_MERCHANT
    fingerprint = transaction_fingerprint(f"{document['customer_id']}\x1f{document['transaction_id']}")
    return MerchantLabel(merchant, fingerprint, time_ms, document["label"] == Finding.FRAUD)
