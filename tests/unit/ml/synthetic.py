"""Seeded card events and data sets for the tests of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.rules import RULES
from ml.columns import NOTHING, Coded
from ml.dataset import Dataset

START_MS = 1_750_000_000_000
NOW_MS = START_MS + 10**10


def dataset(rows: int, seed: int = 0, *, fraud_share: float = 0.05, labelled: bool = True) -> Dataset:
    """Return rows whose frauds are off centre in every feature; groups of five rows have equal timestamps."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < fraud_share
    inputs = rng.normal(size=(rows, len(FEATURE_NAMES))) + 4.0 * fraud[:, None]
    labels = fraud.astype(np.int8) if labelled else np.full(rows, -1, dtype=np.int8)
    one = Coded(np.zeros(rows, dtype=np.int32), ("only",))
    none = Coded(np.full(rows, NOTHING, dtype=np.int32), ())
    return Dataset(
        features=inputs,
        event_time_ms=START_MS + (np.arange(rows, dtype=np.int64) // 5) * 1_000,
        labels=labels,
        amount=np.round(np.exp(rng.normal(4.0, 1.0, rows)), 2),
        customer=Coded((np.arange(rows) % 10).astype(np.int32), tuple(f"c{number}" for number in range(10))),
        currency=replace(one, names=("USD",)),
        category=one,
        merchant=one,
        terminal=none,
        device=none,
        card=none,
        scenario=none,
        segment=none,
        transaction_ids=np.array([f"t{number}" for number in range(rows)], dtype=np.object_),
        rule_score=np.zeros(rows),
        rule_hits=np.zeros((rows, len(RULES)), dtype=np.bool_),
    )


def events(count: int, seed: int = 0) -> list[SourceEvent]:
    """Return card events of ten customers: some without a location, some late, some redelivered."""
    rng = np.random.default_rng(seed)
    made: list[SourceEvent] = []
    for number in range(count):
        if made and rng.random() < 0.02:
            made.append(made[int(rng.integers(max(0, len(made) - 20), len(made)))])
            continue
        transaction = {
            "transaction_id": f"t{number}",
            "customer_id": f"c{rng.integers(10)}",
            "amount_minor": int(rng.lognormal(8.0, 1.0)),
            "currency": "USD" if rng.random() < 0.9 else "JPY",
            "event_time_ms": START_MS + number * 60_000 - int(rng.random() < 0.05) * 3_600_000,
            "merchant": f"m{rng.integers(50)}",
        }
        if rng.random() < 0.9:
            transaction["category"] = f"k{rng.integers(20)}"
        if rng.random() < 0.8:
            transaction["location"] = {"lat": float(rng.normal(45, 3)), "lon": float(rng.normal(7, 3))}
        made.append(SourceEvent(transaction, bool(rng.random() < 0.1)))
    return made
