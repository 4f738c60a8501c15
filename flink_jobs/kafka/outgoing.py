"""One record on its way to the detector, with what should become of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from flink_jobs.cards.card_files import SourceEvent


class Fate(StrEnum):
    """What the detector owes every record it is sent: exactly one of these."""

    DECIDED = "decided"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One Kafka record and its expected fate.

    Attributes:
        key: the Kafka message key: the customer id in UTF-8.
        value: the payload, byte for byte as sent; None is a tombstone.
        event_time_ms: paces a replay by event time; of a malformed record, the time of the event it was made from.
        fate: what should become of it.
        transaction_id: None where the payload has none worth naming.
        reason: the reject reason expected of a rejected record, else None.
        fault: the planted fault (``late``, ``duplicate``, or the name of the malformed kind), else None.
        label: True for fraud, None where unknown.
        pattern: the planted fraud pattern, else None.
    """

    key: bytes
    value: bytes | None
    event_time_ms: int
    fate: Fate = Fate.DECIDED
    transaction_id: str | None = None
    reason: str | None = None
    fault: str | None = None
    label: bool | None = None
    pattern: str | None = None


def encode(event: SourceEvent) -> Outgoing:
    """Return the record of a well-formed event."""
    transaction = event.transaction
    return Outgoing(
        key=transaction["customer_id"].encode(),
        value=orjson.dumps(transaction),
        event_time_ms=transaction["event_time_ms"],
        transaction_id=transaction["transaction_id"],
        label=event.label,
        pattern=event.pattern,
    )
