"""Replays the inputs of merchants (``core.features.entity_risk``) over the rows of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.entity_risk import (
    DEFAULT_DELAY_DAYS,
    RISK_NAMES,
    RISK_SPECS,
    Entity,
    risk_at,
    risk_inputs,
    slot_of,
)
from flink_jobs.core.state.customer import transaction_fingerprint
from flink_jobs.core.state.merchant import MerchantState
from ml.columns import NOTHING
from ml.dataset import FRAUD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.transaction import Transaction
    from ml.dataset import Dataset

NAMES: Final = RISK_NAMES[Entity.MERCHANT]
NEUTRALS: Final = np.array([spec.neutral for spec in RISK_SPECS[Entity.MERCHANT]])


class MerchantReplay:
    """The history of merchants while transactions are replayed in their order.

    Each step encodes and decodes the merchant's state, as a state backend does. A label is learned at once and counts
    after the delay (``risk_at``).
    """

    def __init__(self, delay_days: int = DEFAULT_DELAY_DAYS) -> None:
        """Start without history.

        Args:
            delay_days: days until a label is known.
        """
        self._delay_days = delay_days
        self._states: dict[str, bytes] = {}

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities that it replays."""
        return (Entity.MERCHANT,)

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()

    def inputs(self, entity: Entity, transaction: Transaction) -> tuple[float | None, ...]:  # noqa: ARG002 - one entity
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent."""
        if transaction.merchant is None:
            return (None,) * len(NAMES)
        amount = major_amount(transaction.amount_minor, transaction.currency)
        return self.at(transaction.merchant, transaction.event_time_ms, amount)

    def add(self, transaction: Transaction, *, is_fraud: bool) -> None:
        """Add a transaction with its label."""
        if transaction.merchant is not None:
            amount = major_amount(transaction.amount_minor, transaction.currency)
            whose = f"{transaction.customer_id}\x1f{transaction.transaction_id}" if is_fraud else None
            self.push(transaction.merchant, transaction.event_time_ms, amount, whose)

    def at(self, merchant: str, time_ms: int, amount: float) -> tuple[float | None, ...]:
        """Return the inputs of a purchase of ``amount`` major units at a merchant."""
        state = MerchantState(self._states.get(merchant))
        return risk_inputs(risk_at(state, slot_of(time_ms), self._delay_days), amount)

    def push(self, merchant: str, time_ms: int, amount: float, fraud: str | None) -> None:
        """Add a purchase; ``fraud`` is the id of the label for one that was fraud, else ``None``."""
        state = MerchantState(self._states.get(merchant))
        state.update(time_ms, amount, self._delay_days)
        if fraud is not None:
            state.learn(transaction_fingerprint(fraud), time_ms, is_fraud=True)
        self._states[merchant] = state.to_bytes()


def with_merchant_risk(dataset: Dataset, delay_days: int = DEFAULT_DELAY_DAYS) -> Dataset:
    """Return the data set with the inputs of the merchants.

    The rows are replayed in their order (``MerchantReplay``). A row without a merchant has no values.

    Args:
        dataset: the whole history; rows that are left out do not count for their merchant.
        delay_days: days until a label is known.
    """
    values = np.full((len(dataset), len(NAMES)), np.nan)
    replay, names, customers = MerchantReplay(delay_days), dataset.merchant.names, dataset.customer.names
    columns = (dataset.merchant.codes, dataset.event_time_ms, dataset.amount, dataset.labels, dataset.customer.codes)
    rows = zip(*(column.tolist() for column in columns), dataset.transaction_ids, strict=True)
    for row, (merchant, time_ms, amount, label, customer, transaction_id) in enumerate(rows):
        if merchant == NOTHING:
            continue
        inputs = replay.at(names[merchant], time_ms, amount)
        values[row] = [np.nan if value is None else value for value in inputs]
        fraud = f"{customers[customer]}\x1f{transaction_id}" if label == FRAUD else None
        replay.push(names[merchant], time_ms, amount, fraud)
    return replace(dataset, merchant_risk=values)


def risk_column(dataset: Dataset, name: str) -> NDArray[np.float64]:
    """Return one input of the merchants, finite: an absent value is replaced by its neutral value.

    Raises:
        ValueError: the data set was built without these inputs.
    """
    if dataset.merchant_risk is None:
        raise ValueError(f"input {name!r} needs a data set from with_merchant_risk")
    place = NAMES.index(name)
    column = dataset.merchant_risk[:, place]
    return np.where(np.isnan(column), NEUTRALS[place], column)
