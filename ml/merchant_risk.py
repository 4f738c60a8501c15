"""Replays the inputs of merchants (``core.features.merchant_risk``) over the rows of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.features.merchant_risk import (
    DEFAULT_DELAY_DAYS,
    MERCHANT_RISK,
    MERCHANT_RISK_NAMES,
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

    from ml.dataset import Dataset

NEUTRALS: Final = np.array([spec.neutral for spec in MERCHANT_RISK])


def with_merchant_risk(dataset: Dataset, delay_days: int = DEFAULT_DELAY_DAYS) -> Dataset:
    """Return the data set with the inputs of the merchants.

    The rows are replayed in their order. Each step encodes and decodes the merchant's state, as a state backend does.
    A row's label is learned at once and counts after the delay (``risk_at``). A row without a merchant has no values.

    Args:
        dataset: the whole history; rows that are left out do not count for their merchant.
        delay_days: days until a label is known.
    """
    values = np.full((len(dataset), len(MERCHANT_RISK_NAMES)), np.nan)
    states: dict[int, bytes] = {}
    columns = (dataset.merchant.codes, dataset.event_time_ms, dataset.amount, dataset.labels, dataset.customer.codes)
    rows = zip(*(column.tolist() for column in columns), dataset.transaction_ids, strict=True)
    for row, (merchant, time_ms, amount, label, customer, transaction_id) in enumerate(rows):
        if merchant == NOTHING:
            continue
        state = MerchantState(states.get(merchant))
        inputs = risk_inputs(risk_at(state, slot_of(time_ms), delay_days), amount)
        values[row] = [np.nan if value is None else value for value in inputs]
        state.update(time_ms, amount, delay_days)
        if label == FRAUD:
            fingerprint = transaction_fingerprint(f"{dataset.customer.names[customer]}\x1f{transaction_id}")
            state.learn(fingerprint, time_ms, is_fraud=True)
        states[merchant] = state.to_bytes()
    return replace(dataset, merchant_risk=values)


def risk_column(dataset: Dataset, name: str) -> NDArray[np.float64]:
    """Return one input of the merchants, finite: an absent value is replaced by its neutral value.

    Raises:
        ValueError: the data set was built without these inputs.
    """
    if dataset.merchant_risk is None:
        raise ValueError(f"input {name!r} needs a data set from with_merchant_risk")
    place = MERCHANT_RISK_NAMES.index(name)
    column = dataset.merchant_risk[:, place]
    return np.where(np.isnan(column), NEUTRALS[place], column)
