"""Builds the row of a model's inputs from the features of a transaction."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from flink_jobs.core.features.entity_risk import ENTITY_OF, RISK_NAMES, RISK_NEUTRALS, RISK_SPECS, Entity
from flink_jobs.core.features.table import FEATURE_NAMES, FEATURES, NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.encodings import ENCODINGS, compile_encoding
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees.arrays import Arrays
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.core.transaction import Transaction

Row = tuple[float, ...]
Inputs = Callable[[FeatureVector, Transaction], Row]
INPUT_SPECS: Final = {spec.name: spec for specs in (FEATURES, ENCODINGS, *RISK_SPECS.values()) for spec in specs}
"""Every input of a model that StreamFlow itself declares, by name; own features declare themselves."""


class Histories(Protocol):
    """The history of merchants and other entities that the job has."""

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities that have a history, in canonical order."""

    def inputs(self, entity: Entity, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent."""


class Own(Protocol):
    """The own features of an installation (``own_features.values``)."""

    def of(self, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the values of the transaction that is being scored; ``None`` where a value is absent."""

    def places(self, names: Sequence[str]) -> tuple[list[int], list[float]]:
        """Return place among these values, and neutral value, of some features."""


def compile_inputs(
    names: tuple[str, ...], extras: Arrays, histories: Histories | None = None, own: Own | None = None
) -> Inputs:
    """Build the function from features and transaction to the row.

    The order is: features, encodings, own features, inputs of merchants, of terminals, of devices, of cards. Without
    ``own`` or ``histories``, a model with such inputs scores whole rows only (``TreeModel.score_row``): its function
    raises ``ModelError``, because a transaction alone does not hold these histories.

    Args:
        names: the inputs of the model, in order.
        extras: the optional arrays of the artifact; the encodings use them.
        histories: the history of merchants and other entities.
        own: the own features.

    Raises:
        ModelError: the names are in another order, or an encoding lacks its arrays.
    """
    of_entities = [name for name in names if name in ENTITY_OF]
    entities = [entity for entity in Entity if entity in {ENTITY_OF[name] for name in of_entities}]
    owned = tuple([name for name in names if is_own(name)])
    if (entities and (histories is None or not set(entities) <= set(histories.entities))) or (owned and own is None):
        return _no_row
    last = len(names) - len(of_entities)
    first = last - len(owned)
    if names[first:] != (*owned, *sorted(of_entities, key=lambda name: entities.index(ENTITY_OF[name]))):
        detail = f"feature_names must list last: own features, then inputs of each of {', '.join(Entity)} in this order"
        raise ModelError(ModelFault.FEATURE_MISMATCH, detail)
    row_of = _plain_inputs(names[:first], extras)
    if owned and own is not None:
        places, neutral = own.places(owned)
        row_of = _further(row_of, own.of, places, neutral)
    for entity in entities:
        assert histories is not None  # noqa: S101 - checked above
        taken = [name for name in of_entities if ENTITY_OF[name] is entity]
        places = [RISK_NAMES[entity].index(name) for name in taken]
        values_of = partial(histories.inputs, entity)
        row_of = _further(row_of, values_of, places, [RISK_NEUTRALS[name] for name in taken])
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
    """Build the function to the inputs that need neither own features nor a history."""
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
    """Refuse to score: own features and inputs of entities must never be replaced by zeros.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        ModelFault.FEATURE_MISMATCH,
        "own features and inputs of entities are known for rows only",
    )
