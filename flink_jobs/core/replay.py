"""Replay historical transactions through the stream's own code, so training and serving use the same features."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.vector import FeatureVector, extract_features, surprise_of
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW, DuplicateWindow
from flink_jobs.core.transaction import Transaction


class ReplayedTransaction(NamedTuple):
    """A historical transaction with the features that the stream would have computed for it."""

    transaction: Transaction
    features: FeatureVector


def replay_features(
    transactions: Iterable[Transaction],
    config: DetectionConfig | None = None,
    window: DuplicateWindow = DEFAULT_WINDOW,
    own: OwnValues | None = None,
    states: dict[str, bytes] | None = None,
) -> Iterator[ReplayedTransaction]:
    """Yield transactions with their features, in the order given.

    Every step encodes and decodes the customer's state as RocksDB storage does, and duplicates are left out as a
    job with this window leaves them out. With ``own``, it has the own features of each transaction until the next one.
    ``states`` has the states of the customers before the first transaction, and afterwards those behind the last one.
    """
    is_blacklisted = (config or DetectionConfig()).blacklist.matches
    states = {} if states is None else states
    for transaction in transactions:
        state = CustomerFraudState(states.get(transaction.customer_id))
        fingerprint = transaction_fingerprint(transaction.transaction_id)
        if state.has_seen(fingerprint):
            continue
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, is_blacklisted)
        if own is not None:
            own.compute(state, transaction)
        yield ReplayedTransaction(transaction, features)
        state.observe(transaction, amount, fingerprint, surprise_of(features), window)
        states[transaction.customer_id] = state.to_bytes()
