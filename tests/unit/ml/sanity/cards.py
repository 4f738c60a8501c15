"""Generated card rows without defects, and copies with one defect each."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flink_jobs.cards.card_files import SourceEvent

START_S = 1_704_067_200
DAYS = 60
CUSTOMERS = 70
CATEGORIES = 8
MERCHANTS = 24
FIRST_VICTIM = 10
"""Customers before this one are never robbed."""
NOW_MS = (START_S + DAYS * 86_400) * 1_000
COLUMNS = ("transaction_id", "customer_id", "event_time", "amount", "category", "merchant", "is_fraud")
MAPPING = """\
fields:
  transaction_id: transaction_id
  customer_id: customer_id
  amount: {column: amount, unit: major}
  currency: {constant: USD}
  event_time: {column: event_time, format: unix_s}
  merchant: merchant
  category: category
label: {column: is_fraud, fraud_values: ["1"]}
"""


@dataclass(frozen=True, slots=True)
class Card:
    """One row of a card file."""

    transaction_id: str
    customer_id: str
    event_time: int
    amount: float
    category: str
    merchant: str
    is_fraud: int

    @property
    def day(self) -> int:
        """Number of the day in the file."""
        return (self.event_time - START_S) // 86_400


def sound(seed: int = 0) -> list[Card]:
    """Return about 4,500 rows: most customers have one day with six larger purchases of a thief."""
    rng = np.random.default_rng(seed)
    drawn: list[tuple[int, int, float, int, int]] = []
    for customer in range(CUSTOMERS):
        usual = rng.lognormal(3.5, 0.5)
        for _ in range(rng.poisson(DAYS)):
            moment = int(rng.integers(DAYS)) * 86_400 + int(np.clip(rng.normal(14, 4), 0, 23.9) * 3_600)
            drawn.append((moment, customer, usual * rng.lognormal(0.0, 0.8), int(rng.integers(CATEGORIES)), 0))
        if customer >= FIRST_VICTIM:
            day = int(rng.integers(5, DAYS))
            for _ in range(6):
                moment = day * 86_400 + int(rng.integers(86_400))
                drawn.append((moment, customer, usual * rng.lognormal(1.0, 0.8), int(rng.integers(CATEGORIES)), 1))
    drawn.sort()
    return [
        Card(
            f"t{rng.integers(10**9):09}", f"c{customer * 7919 % 1000:03}", START_S + moment, round(amount, 2),
            f"category {category}", f"shop {rng.integers(MERCHANTS)}", fraud,
        )
        for moment, customer, amount, category, fraud in drawn
    ]  # fmt: skip


def events(cards: list[Card]) -> list[SourceEvent]:
    """Return the rows as events, in the order of time."""
    return [
        SourceEvent(
            {
                "transaction_id": card.transaction_id,
                "customer_id": card.customer_id,
                "event_time_ms": card.event_time * 1_000,
                "amount_minor": round(card.amount * 100),
                "currency": "USD",
                "category": card.category,
                "merchant": card.merchant,
            },
            bool(card.is_fraud),
        )
        for card in sorted(cards, key=lambda card: card.event_time)
    ]


def like_the_old_sample(cards: list[Card]) -> list[Card]:
    """Return the rows as the faulty generator made them: dates and categories of genuine rows are sorted together."""
    genuine = [card for card in cards if not card.is_fraud]
    categories = iter(sorted(card.category for card in genuine))
    dated = sorted(genuine, key=lambda card: card.event_time)
    return [*(replace(card, category=next(categories)) for card in dated), *(card for card in cards if card.is_fraud)]


def write(cards: list[Card], path: Path) -> Path:
    """Write a card file with its mapping beside it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for card in sorted(cards, key=lambda card: card.event_time):
            writer.writerow([getattr(card, name) for name in COLUMNS])
    path.with_suffix(".mapping.yaml").write_text(MAPPING)
    return path
