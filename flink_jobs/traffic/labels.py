"""Labels: what people found out about transactions, validated before it is sent (contract ``labels`` v1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson
from kafka.errors import KafkaError

from flink_jobs.broker import Broker
from flink_jobs.contracts.registry import topic_name
from flink_jobs.errors import UserError
from flink_jobs.traffic.producer import CONNECT_LIMIT_S, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flink_jobs.traffic.source_files import SourceEvent

LABEL_SCHEMA_VERSION: Final = 1
DAY_MS: Final = 86_400_000
_MAX_TIME_MS: Final = 253_402_300_799_999
_LIMITS: Final = {"transaction_id": 64, "customer_id": 64, "source": 64, "labelled_by": 256, "comment": 1_000}
SHOW_EVERY: Final = 1_000


class Finding(StrEnum):
    """What was found out."""

    FRAUD = "fraud"
    """Confirmed fraud."""
    GENUINE = "genuine"
    """The cardholder's own; an alert on it was a false positive."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label for one transaction; ``ValueError`` where a field is not what the contract allows."""

    transaction_id: str
    customer_id: str
    label: Finding
    source: str
    labelled_at_ms: int
    labelled_by: str
    comment: str | None = None

    def __post_init__(self) -> None:
        """Hold every field to the contract: nobody checks a label again before it trains a model."""
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if value is None and name == "comment":
                continue
            if not 0 < len(value) <= limit or not value.isprintable():
                raise ValueError(f"{name} must be 1 to {limit} printable characters")
        if not 0 <= self.labelled_at_ms <= _MAX_TIME_MS:
            raise ValueError("labelled_at_ms must be milliseconds since the epoch, up to the year 9999")

    @property
    def id(self) -> str:
        """Id of the label: the same however often it is sent."""
        parts = (self.customer_id, self.transaction_id, self.label, self.source, str(self.labelled_at_ms))
        return "lb_" + blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    def document(self) -> dict[str, Any]:
        """Return the message."""
        return {
            "schema_version": LABEL_SCHEMA_VERSION,
            "label_id": self.id,
            "transaction_id": self.transaction_id,
            "customer_id": self.customer_id,
            "label": self.label,
            "source": self.source,
            "labelled_at_ms": self.labelled_at_ms,
            "labelled_by": self.labelled_by,
            "comment": self.comment,
        }


def labels_of(events: Iterable[SourceEvent], source: str, labelled_by: str, delay_days: float) -> Iterator[Label]:
    """Yield the labels of a card file as a fraud desk would give them: so many days after each transaction.

    Rows without a label are left out.
    """
    for event in events:
        if event.label is None:
            continue
        row = event.transaction
        yield Label(
            row["transaction_id"],
            row["customer_id"],
            Finding.FRAUD if event.label else Finding.GENUINE,
            source,
            int(row["event_time_ms"] + delay_days * DAY_MS),
            labelled_by,
        )


def send_labels(
    broker: Broker, prefix: str, labels: Iterable[Label], on_progress: Callable[[int], None] | None = None
) -> int:
    """Send labels; return how many the broker has taken.

    Raises:
        UserError: no broker, no topic, or the broker refused one.
    """
    topic, producer, count = topic_name(prefix, "labels"), connect(broker), 0
    try:
        pending = []
        for count, label in enumerate(labels, start=1):
            pending.append(producer.send(topic, value=orjson.dumps(label.document()), key=label.customer_id.encode()))
            if len(pending) == SHOW_EVERY:
                _await(pending)
                if on_progress is not None:
                    on_progress(count)
        _await(pending)
    except KafkaError as cause:
        raise UserError(
            f"Kafka did not take a label for {topic} ({type(cause).__name__})",
            "check with `streamflow status` that the broker is up and `streamflow up` made its topics; "
            "labels that are sent again are the same labels",
        ) from None
    finally:
        producer.close(timeout=CONNECT_LIMIT_S)
    return count


def _await(pending: list[Any]) -> None:
    for answer in pending:
        answer.get(timeout=CONNECT_LIMIT_S)
    pending.clear()
