"""Builds the row of a model's inputs from the features of a transaction."""

from collections.abc import Callable, Sequence
from typing import Protocol

from flink_jobs.core.features.entity_risk import RISK_NAMES, RISK_SPECS, Entity
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.encodings import compile_encoding
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees.arrays import Arrays
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.core.transaction import Transaction

Row = tuple[float, ...]
Inputs = Callable[[FeatureVector, Transaction], Row]
_NAMES, _SPECS = RISK_NAMES[Entity.MERCHANT], RISK_SPECS[Entity.MERCHANT]


class Merchants(Protocol):
    """The history of merchants that the job has."""

    def inputs(self, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent."""


class Own(Protocol):
    """The own features of an installation (``own_features.values``)."""

    def of(self, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the values of the transaction that is being scored; ``None`` where a value is absent."""

    def places(self, names: Sequence[str]) -> tuple[list[int], list[float]]:
        """Return place among these values, and neutral value, of some features."""


def compile_inputs(
    names: tuple[str, ...], extras: Arrays, merchants: Merchants | None = None, own: Own | None = None
) -> Inputs:
    """Build the function from features and transaction to the row.

    The order is: features, encodings, own features, inputs of merchants. Without ``own`` or ``merchants``, a model with
    such inputs scores whole rows only (``TreeModel.score_row``): its function raises ``ModelError``, because a
    transaction alone does not hold the history of its customer and merchant.

    Args:
        names: the inputs of the model, in order.
        extras: the optional arrays of the artifact; the encodings use them.
        merchants: the history of merchants.
        own: the own features.

    Raises:
        ModelError: the names are in another order, or an encoding lacks its arrays.
    """
    of_merchants = tuple([name for name in names if name in _NAMES])
    owned = tuple([name for name in names if is_own(name)])
    if (of_merchants and merchants is None) or (owned and own is None):
        return _no_row
    last = len(names) - len(of_merchants)
    first = last - len(owned)
    if names[first:] != owned + of_merchants:
        detail = "feature_names must list own features and then inputs of merchants last"
        raise ModelError(ModelFault.FEATURE_MISMATCH, detail)
    row_of = _plain_inputs(names[:first], extras)
    if owned and own is not None:
        places, neutral = own.places(owned)
        row_of = _further(row_of, own.of, places, neutral)
    if of_merchants and merchants is not None:
        places = [_NAMES.index(name) for name in of_merchants]
        row_of = _further(row_of, merchants.inputs, places, [_SPECS[place].neutral for place in places])
    return row_of


def _further(
    first: Inputs, values_of: Callable[[Transaction], tuple[float | None, ...]], places: list[int], neutral: list[float]
) -> Inputs:
    """Build the function to a row and some values of the transaction behind it, absent ones as their neutral value."""

    def row_of(vector: FeatureVector, transaction: Transaction) -> Row:
        row = list(first(vector, transaction))
        values = values_of(transaction)
        for number in range(len(places)):
            value: float | None = values[places[number]]
            row.append(neutral[number] if value is None else value)
        return tuple(row)

    return row_of


def _plain_inputs(names: tuple[str, ...], extras: Arrays) -> Inputs:
    """Build the function to the inputs that need neither own features nor a merchant."""
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
    """Refuse to score: own features and inputs of merchants must never be replaced by zeros.

    Raises:
        ModelError: always.
    """
    raise ModelError(ModelFault.FEATURE_MISMATCH, "own features and inputs of merchants are known for rows only")
