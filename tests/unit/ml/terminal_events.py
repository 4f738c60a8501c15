"""Generated purchases with terminal fraud as the events of a card file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_jobs.cards.card_files import SourceEvent
from ml.terminal_fraud import START

if TYPE_CHECKING:
    from collections.abc import Iterator

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
