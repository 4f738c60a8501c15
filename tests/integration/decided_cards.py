"""Fills the raw tables without Kafka and Flink: the evaluator scores the card file, the archive's SQL writes the rows.

Tests build the marts from these tables and compare them with the same documents in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
import psycopg

from flink_jobs.cards.card_files import read_events
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.archiver.tables import ARCHIVE_OF, Archive, upsert_sql
from tests.integration.jobs import CARD_FILE, CARD_MAPPING

TOPIC = "streamflow.transactions"
Document = dict[str, Any]
_OF_DECISIONS = {"received_ms": "bigint", "actions": "jsonb", "traceparent": "text",
                 "fraud_probability": "double precision", "expected_loss_minor": "bigint"}  # fmt: skip
_IDS = {"terminal": "text", "device": "text", "card": "text", "ip": "text"}
LATER_COLUMNS = {
    "decisions": {**_OF_DECISIONS, **_IDS},
    "alerts": {**_OF_DECISIONS, **_IDS},
    "dlq": _OF_DECISIONS,
    "labels": {"merchant": "text", "event_time_ms": "bigint"},
    "user-actions": {"card": "text"},
}
"""Columns that later migrations added to the raw table of each topic, for tests of upgrades: the archive fills them."""


@dataclass(slots=True)
class DecidedCards:
    """The documents the detector would have written, by topic."""

    decisions: list[Document] = field(default_factory=list)
    alerts: list[Document] = field(default_factory=list)
    dlq: list[Document] = field(default_factory=list)
    labels: list[Document] = field(default_factory=list)


def decide(
    count: int,
    *,
    skip: int = 0,
    now_ms: int = 1_767_225_600_000,
    model: Model | None = None,
    has_devices: bool = False,
) -> DecidedCards:
    """Score the first transactions of the card file; every 50th record is duplicated, every 40th is malformed.

    Without a model, the rules alone score. With devices, every fifth transaction is of version 2, and customers share
    three devices.

    Every labelled transaction that raised an alert, and every labelled fraud, gets its label.
    """
    evaluator, states, cards = TransactionEvaluator(model=model), dict[str, bytes](), DecidedCards()
    events = islice(read_events(CARD_FILE, load_mapping(CARD_MAPPING)), count)
    offset = 0
    for number, event in enumerate(events):
        newer = {"schema_version": 2, "device": f"device-{number % 3}"} if has_devices and number % 5 == 0 else {}
        payload = orjson.dumps({**event.transaction, **newer})
        copies = 2 if number % 50 == 0 else 1
        records = [payload] * copies + ([payload[:-9]] if number % 40 == 0 else [])
        decision = None
        sent = datetime.fromtimestamp((now_ms + number) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        for record in records:
            customer = event.transaction["customer_id"]
            source = SourceRecord(record, 0, offset, sent, "", customer, TOPIC)
            outcome = evaluator.evaluate(source, lambda: states.get(customer), now_ms + number)  # noqa: B023
            offset += 1
            if outcome.state is not None:
                states[customer] = outcome.state
            if number < skip:
                continue
            if outcome.decision is not None:
                decision = orjson.loads(outcome.decision)
                cards.decisions.append(decision)
            if outcome.alert is not None:
                cards.alerts.append(orjson.loads(outcome.alert))
            cards.dlq += [orjson.loads(letter.body) for letter in outcome.letters]
        if decision is not None and event.label is not None and (event.label or decision["is_alert"]):
            cards.labels.append(label_of(decision, is_fraud=event.label))
    return cards


def label_of(decision: Document, *, is_fraud: bool) -> Document:
    """Return the label that an analyst would give a scored transaction one day later."""
    return {
        "schema_version": 1,
        "label_id": f"lb_{decision['customer_id']}_{decision['transaction_id']}",
        "transaction_id": decision["transaction_id"],
        "customer_id": decision["customer_id"],
        "label": "fraud" if is_fraud else "genuine",
        "source": "test",
        "labelled_at_ms": decision["event_time_ms"] + 86_400_000,
        "labelled_by": "tests",
        "comment": None,
    }


def archive(dsn: str, cards: DecidedCards) -> None:
    """Write all documents as the archive job does, with an upsert by the key of the table."""
    with psycopg.connect(dsn) as connection:
        for topic in ("decisions", "alerts", "dlq", "labels"):
            upsert(connection, ARCHIVE_OF[topic], getattr(cards, topic))


def upsert(connection: psycopg.Connection[Any], table: Archive, documents: Iterable[Mapping[str, Any]]) -> None:
    """Upsert the rows of one table with the SQL statement of the archive job."""
    connection.execute(upsert_sql(table).encode(), ([orjson.dumps(document).decode() for document in documents],))
