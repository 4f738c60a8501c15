"""Builds the row of a model's inputs from the features of a transaction."""

from collections.abc import Callable
from typing import Protocol

from flink_jobs.core.features.merchant_risk import MERCHANT_RISK, MERCHANT_RISK_NAMES
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.encodings import compile_encoding
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees.arrays import Arrays
from flink_jobs.core.transaction import Transaction

Row = tuple[float, ...]
Inputs = Callable[[FeatureVector, Transaction], Row]


class Merchants(Protocol):
    """The history of merchants that the job has."""

    def inputs(self, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``MERCHANT_RISK``; ``None`` where a value is absent."""


def compile_inputs(names: tuple[str, ...], extras: Arrays, merchants: Merchants | None = None) -> Inputs:
    """Build the function from features and transaction to the row: features, encodings, inputs of merchants.

    Without ``merchants``, a model with inputs of merchants scores whole rows only (``TreeModel.score_row``): its
    function raises ``ModelError``, because a transaction alone does not hold the history of its merchant.

    Args:
        names: the inputs of the model, in order.
        extras: the optional arrays of the artifact; the encodings use them.
        merchants: the history of merchants.

    Raises:
        ModelError: the names are in another order, or an encoding lacks its arrays.
    """
    of_merchants = tuple([name for name in names if name in MERCHANT_RISK_NAMES])
    if not of_merchants:
        return _own_inputs(names, extras)
    if merchants is None:
        return _no_row
    first = len(names) - len(of_merchants)
    if names[first:] != of_merchants:
        raise ModelError(ModelFault.FEATURE_MISMATCH, "feature_names must list inputs of merchants last")
    own = _own_inputs(names[:first], extras)
    places = [MERCHANT_RISK_NAMES.index(name) for name in of_merchants]
    neutral = [MERCHANT_RISK[place].neutral for place in places]
    history = merchants

    def row_of(vector: FeatureVector, transaction: Transaction) -> Row:
        row = list(own(vector, transaction))
        values = history.inputs(transaction)
        for number in range(len(places)):
            value: float | None = values[places[number]]
            row.append(neutral[number] if value is None else value)
        return tuple(row)

    return row_of


def _own_inputs(names: tuple[str, ...], extras: Arrays) -> Inputs:
    """Build the function to the inputs that need no merchant."""
    features = tuple([name for name in names if name in FEATURE_NAMES])
    if names[: len(features)] != features:
        raise ModelError(ModelFault.FEATURE_MISMATCH, "feature_names must list features before encodings")
    encodings = [compile_encoding(name, extras) for name in names[len(features) :]]
    places = [FEATURE_NAMES.index(name) for name in features]
    neutral = [NEUTRAL_VALUES[place] for place in places]

    def row_of(vector: FeatureVector, transaction: Transaction) -> Row:
        row: list[float] = []
        for number in range(len(places)):
            value: float | None = vector[places[number]]
            row.append(neutral[number] if value is None else value)
        for encode in encodings:
            row.append(encode(transaction))  # noqa: PERF401 - a generator costs more
        return tuple(row)

    return row_of


def _no_row(_vector: FeatureVector, _transaction: Transaction) -> Row:
    """Refuse to score: the inputs of merchants must never be replaced by zeros.

    Raises:
        ModelError: always.
    """
    raise ModelError(ModelFault.FEATURE_MISMATCH, "inputs of merchants are computed for rows of a data set only")
