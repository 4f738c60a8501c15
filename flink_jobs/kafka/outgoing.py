"""One record to send to the detector, with its expected outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from flink_jobs.cards.card_files import SourceEvent


class Fate(StrEnum):
    """The outcome of a record; every record that is sent gets exactly one."""

    DECIDED = "decided"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One Kafka record and its expected outcome.

    Attributes:
        key: the Kafka message key: the customer id in UTF-8.
        value: the payload, byte for byte as sent; ``None`` is a tombstone.
        event_time_ms: event time in ms, which paces a replay; a malformed record has that of its source event.
        fate: the expected outcome.
        transaction_id: the id in the payload; ``None`` if the payload has no valid id.
        reason: the expected reason code of a rejected record, else ``None``.
        fault: the injected fault (``late``, ``duplicate``, or the name of the malformation), else ``None``.
        label: ``True`` for fraud; ``None`` if unknown.
        pattern: the injected fraud pattern, else ``None``.
        row: number of the row in the card file; 0 without a file.
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
    row: int = 0


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
        row=event.row or 0,
    )
