"""Generated purchases with terminal fraud as the events of a card file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.entity_risk import entity_id
from ml.terminal_fraud import START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.core.transaction import Transaction
    from ml.entity_risk import RiskReplay
    from ml.terminal_fraud import Purchases

START_MS = round(START.timestamp() * 1_000)
NOW_MS = START_MS + 10**11


def events_of(purchases: Purchases) -> Iterator[SourceEvent]:
    """Yield one event per purchase, with its label and the number of its kind of fraud."""
    columns = (purchases.second, purchases.customer, purchases.terminal, purchases.amount, purchases.scenario)
    for number, (second, customer, terminal, amount, scenario) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        transaction = {
            "transaction_id": f"t{number}", "customer_id": f"c{customer}", "amount_minor": round(amount * 100),
            "currency": "EUR", "event_time_ms": START_MS + second * 1_000, "merchant": f"m{terminal}",
        }  # fmt: skip
        yield SourceEvent(transaction, scenario > 0, str(scenario))


def events_with_ids(purchases: Purchases, terminals_per_merchant: int = 10) -> Iterator[SourceEvent]:
    """Yield the events with terminals under merchants, a device of two customers, and a card; some lack an id."""
    for number, event in enumerate(events_of(purchases)):
        customer, terminal = int(purchases.customer[number]), int(purchases.terminal[number])
        ids = {"merchant": f"m{terminal // terminals_per_merchant}", "terminal": f"t{terminal}"}
        if number % 5:
            ids["device"] = f"d{customer // 2}"
        if number % 7:
            ids["card"] = f"token-{customer}"
        yield SourceEvent(event.transaction | ids | {"schema_version": 2}, event.label, event.pattern)


def push(replay: RiskReplay, transaction: Transaction, *, is_fraud: bool) -> None:
    """Add a transaction with its label to the history of each entity that it names."""
    amount = major_amount(transaction.amount_minor, transaction.currency)
    whose = f"{transaction.customer_id}\x1f{transaction.transaction_id}" if is_fraud else None
    for entity in replay.entities:
        name = entity_id(transaction, entity)
        if name is not None:
            replay.push(entity, name, transaction.event_time_ms, amount, whose)
