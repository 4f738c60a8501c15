"""Send labels to ``.labels``; each label is validated before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from kafka.errors import KafkaError

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import Label, time_of_known
from flink_jobs.core.parsing.purchase_ids import ID_LIMITS, purchase_id
from flink_jobs.core.parsing.transactions import MAX_MERCHANT_CHARS
from flink_jobs.core.texts import composed_within
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.producer import CONNECT_LIMIT_S, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flink_jobs.cards.card_files import SourceEvent

DAY_MS: Final = 86_400_000
SHOW_EVERY: Final = 1_000


def labels_of(
    events: Iterable[SourceEvent],
    source: str,
    labelled_by: str,
    delay_days: float,
    now_ms: int,
    not_yet_known: Callable[[], None],
) -> Iterator[Label]:
    """Yield the labels of a card file, dated ``delay_days`` days after each transaction, as a fraud desk gives them.

    Rows without a label are skipped. A label whose time is after ``now_ms``, the clock, is not known yet: it is not
    yielded, and ``not_yet_known`` is called.
    """
    for event in events:
        if event.label is None:
            continue
        row = event.transaction
        merchant = _merchant(row.get("merchant"))
        terminal, device, card = (purchase_id(field, row.get(field)) for field in ID_LIMITS)
        if row["event_time_ms"] + delay_days * DAY_MS > now_ms:
            not_yet_known()
            continue
        yield Label(
            row["transaction_id"],
            row["customer_id"],
            Finding.FRAUD if event.label else Finding.GENUINE,
            source,
            int(row["event_time_ms"] + delay_days * DAY_MS),
            labelled_by,
            merchant=merchant,
            event_time_ms=time_of_known(row["event_time_ms"], merchant, terminal, device, card),
            terminal=terminal,
            device=device,
            card=card,
        )


def _merchant(text: Any) -> str | None:  # noqa: ANN401 - a value of a card file
    """Return a merchant as decisions spell it; ``None`` where the transaction has none that its decision would have."""
    return composed_within(text, MAX_MERCHANT_CHARS) if type(text) is str and text else None


def send_labels(
    broker: Broker, prefix: str, labels: Iterable[Label], on_progress: Callable[[int], None] | None = None
) -> int:
    """Send labels; return how many the broker has accepted.

    Raises:
        UserError: no broker answers, the topic is missing, or the broker refused a label.
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
            f"Kafka did not accept a label for {topic} ({type(cause).__name__})",
            "check with `streamflow status` that the broker is up and that `streamflow up` created its topics; then "
            "send all labels again: a label that arrives twice counts once",
        ) from None
    finally:
        producer.close(timeout=CONNECT_LIMIT_S)
    return count


def _await(pending: list[Any]) -> None:
    for answer in pending:
        answer.get(timeout=CONNECT_LIMIT_S)
    pending.clear()
