"""Histories of made-up customers, with the extremes that the contract of transactions allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flink_jobs.core.currencies import MINOR_UNITS, major_amount
from flink_jobs.core.features.vector import DAY_MS, extract_features, surprise_of
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.transaction import Transaction

if TYPE_CHECKING:
    from random import Random

LONGEST: Final = 60
"""Most transactions of one customer; the state remembers the last 32 in detail."""
_LARGEST: Final = 10**12
_START_MS: Final = 1_600_000_000_000
_KNOWN: Final = 11
"""Fields of ``Transaction`` that are filled here by their meaning; later ones are texts or absent."""


class Sample(NamedTuple):
    """The stored state of a customer before a transaction, and the transaction."""

    state: bytes | None
    transaction: Transaction


def samples_of(random: Random, customer: str) -> list[Sample]:
    """Return every transaction of one made-up customer, each with the state before it."""
    samples: list[Sample] = []
    stored: bytes | None = None
    time_ms = _START_MS + random.randrange(3 * 365) * DAY_MS
    currencies = random.sample(sorted(MINOR_UNITS), random.choice((1, 1, 2, 5)))
    categories = [f"category-{number}" for number in range(random.choice((1, 4, 20)))]
    for number in range(random.choice((1, 2, 5, 12, LONGEST))):
        time_ms += random.choice((0, 1_000, 600_000, DAY_MS // 3, DAY_MS, 90 * DAY_MS, -DAY_MS))
        transaction = _transaction(random, f"{number}", customer, time_ms, random.choice(currencies), categories)
        samples.append(Sample(stored, transaction))
        state = CustomerFraudState(stored)
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, lambda _: False)
        state.observe(transaction, amount, transaction_fingerprint(transaction.transaction_id), surprise_of(features))
        stored = state.to_bytes()
    return samples


def _transaction(
    random: Random, name: str, customer: str, time_ms: int, currency: str, categories: list[str]
) -> Transaction:
    amount = random.choice((0, 1, _LARGEST, int(random.lognormvariate(8.0, 1.5)), int(random.lognormvariate(8.0, 1.5))))
    latitude, longitude = random.choice(((None, None), (0.0, 0.0), (90.0, 180.0), (-90.0, -180.0), (48.1, 11.6)))
    names: list[str] = list(Transaction._fields)[_KNOWN:]
    later: Any = {field: random.choice((None, f"{field}-1", "Zoë")) for field in names}
    known = Transaction(
        name,
        customer,
        min(amount, _LARGEST),
        currency,
        time_ms,
        random.choice((None, "shop-1", "shop-2", "Zoë's Café")),
        random.choice((None, *categories)),
        latitude,
        longitude,
        random.choice((None, "online", "pos")),
        random.choice((None, "DE", "US", "JP")),
    )
    return known._replace(**later)
