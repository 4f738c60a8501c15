"""What the job of merchants reads: decisions and labels. Each becomes an event of each of its entities, or a reason."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.documents import Finding
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.label import label_problem
from flink_jobs.core.merchants.keys import SEPARATOR
from flink_jobs.core.state.customer import transaction_fingerprint

UNREADABLE: Final = "unreadable"
NOT_NAMED: Final = {entity: f"no_{entity}" for entity in Entity}
"""The reason why a decision or a label is no event of an entity: it does not name it."""


class Purchase(NamedTuple):
    """A scored transaction of an entity."""

    name: str
    """Id of the merchant, terminal, device or card."""
    time_ms: int
    amount: float
    """In major units."""


class EntityLabel(NamedTuple):
    """A label of a transaction of an entity."""

    name: str
    fingerprint: int
    """64 bits that identify the transaction."""
    time_ms: int
    """Event time of the transaction."""
    is_fraud: bool


def read_purchase(payload: bytes, entity: Entity = Entity.MERCHANT) -> Purchase | str:
    """Return the purchase in a decision, the entity's ``NOT_NAMED``, or ``UNREADABLE`` for bytes that are no decision.

    Decisions have terminal, device and card from version 6, and a merchant in every version.
    """
    try:
        document: dict[str, Any] = orjson.loads(payload)
        name = document["merchant"] if entity is Entity.MERCHANT else document.get(entity.value)
        time_ms = document["event_time_ms"]
        if name is None:
            return NOT_NAMED[entity]
        amount = major_amount(document["amount_minor"], document["currency"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return UNREADABLE
    if type(name) is not str or not name or SEPARATOR in name or type(time_ms) is not int:
        return UNREADABLE
    return Purchase(name, time_ms, amount)


def read_fields(text: str) -> Purchase | str:
    r"""Return the purchase in the fields that Java picked from a decision (``PurchaseSchema.java``).

    >>> read_fields("1700000000000\n1999\nEUR\nm-1")
    Purchase(name='m-1', time_ms=1700000000000, amount=19.99)
    """
    time_ms, amount_minor, currency, name = text.split("\n", 3)
    try:
        return Purchase(name, int(time_ms), major_amount(int(amount_minor), currency))
    except KeyError:
        return UNREADABLE


def read_entity_label(payload: bytes, entity: Entity = Entity.MERCHANT) -> EntityLabel | str:
    """Return the label in a message; the entity's ``NOT_NAMED`` without its id, ``UNREADABLE`` for no valid label."""
    if label_problem(payload) is not None:
        return UNREADABLE
    document = orjson.loads(payload)
    name, time_ms = document.get(entity.value), document.get("event_time_ms")
    if name is None or time_ms is None:
        return NOT_NAMED[entity]
    fingerprint = transaction_fingerprint(f"{document['customer_id']}\x1f{document['transaction_id']}")
    return EntityLabel(name, fingerprint, time_ms, document["label"] == Finding.FRAUD)
