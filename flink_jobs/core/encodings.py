"""Inputs that an artefact brings along: what a population does, which no single customer's state can know.

An encoding is a table from a category to numbers, learnt from the training rows and stored in the artefact beside the
trees, so that a model and what it takes for normal are always of the same day. It costs a dictionary look-up.

- `population_zscore`: the amount against what all customers pay in this category and currency. Needs no labels.
- `category_risk`: how much likelier fraud is in this category than elsewhere. Learnt from labels that were known at
  training time; while training, each row's value comes from other customers' rows, so that no row sees its own label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from flink_jobs.core.category_habits import category_key, log_amount
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.feature_table import FeatureSpec
from flink_jobs.core.model_faults import ModelError, ModelFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.transaction import Transaction
    from flink_jobs.core.tree_arrays import Arrays

MAX_ZSCORE: Final = 20.0
MAX_RISK: Final = 10.0
MAX_KEYS: Final = 1 << 16

ENCODINGS: Final = (
    FeatureSpec(
        "population_zscore", "standard deviations", -MAX_ZSCORE, MAX_ZSCORE, 0.0,
        "0 for a category or currency that training did not see",
        "distance of the amount's logarithm from the mean of all customers in this category and currency",
    ),
    FeatureSpec(
        "category_risk", "log-odds", -MAX_RISK, MAX_RISK, 0.0, "0 for a category that training did not see",
        "how much likelier fraud is in this category than in all, from labels known when the model was trained",
    ),
)  # fmt: skip
"""The inputs that a model may have besides the features of the stream."""
ENCODING_NAMES: Final = tuple(spec.name for spec in ENCODINGS)
ENCODING_NEUTRALS: Final = {spec.name: spec.neutral for spec in ENCODINGS}

_KEY, _NUMBER = np.dtype("<u4"), np.dtype("<f8")
ENCODING_ARRAYS: Final[tuple[dict[str, np.dtype[np.generic]], ...]] = (
    {"population_key": _KEY, "population_mean": _NUMBER, "population_std": _NUMBER},
    {"risk_key": _KEY, "risk_value": _NUMBER},
)
"""The arrays of each encoding: keys ascending, and as many of each number. The same order as `ENCODINGS`."""


class PopulationHabit(NamedTuple):
    """Of the logarithms of all customers' amounts in one category and currency."""

    mean: float
    std: float


def compile_encoding(name: str, extras: Arrays) -> Callable[[Transaction], float]:
    """Build the function of one encoding.

    Raises:
        ModelError: `BAD_ARRAYS`: the artefact lacks its arrays, or they are no table.
    """
    group = ENCODING_ARRAYS[ENCODING_NAMES.index(name)]
    if any(array not in extras for array in group):
        raise ModelError(ModelFault.BAD_ARRAYS, f"input {name!r} needs the arrays {', '.join(group)}")
    _check(name, {array: extras[array] for array in group})
    return _population(extras) if name == "population_zscore" else _risk(extras)


def _check(name: str, arrays: Arrays) -> None:
    keys, *numbers = arrays.values()
    if not 1 <= len(keys) <= MAX_KEYS or any(len(values) != len(keys) for values in numbers):
        raise ModelError(ModelFault.BAD_ARRAYS, f"the table of {name!r} has no or too many keys, or uneven columns")
    if (np.diff(keys.astype(np.int64)) <= 0).any() or not all(np.isfinite(values.astype(_NUMBER)).all() for values in numbers):
        raise ModelError(ModelFault.BAD_ARRAYS, f"the table of {name!r} is not in ascending order of keys, or not finite")
    if "population_std" in arrays and not (arrays["population_std"].astype(_NUMBER) > 0.0).all():
        raise ModelError(ModelFault.BAD_ARRAYS, f"the table of {name!r} holds a deviation that is not above zero")


def _population(extras: Arrays) -> Callable[[Transaction], float]:
    columns = (extras[name].tolist() for name in ENCODING_ARRAYS[0])
    habits = {key: PopulationHabit(mean, std) for key, mean, std in zip(*columns, strict=True)}
    find = habits.get

    def population_zscore(transaction: Transaction) -> float:
        habit = find(category_key(transaction.category, transaction.currency))
        if habit is None:
            return 0.0
        amount = major_amount(transaction.amount_minor, transaction.currency)
        return max(-MAX_ZSCORE, min(MAX_ZSCORE, (log_amount(amount) - habit.mean) / habit.std))

    return population_zscore


def _risk(extras: Arrays) -> Callable[[Transaction], float]:
    risks = dict(zip(extras["risk_key"].tolist(), extras["risk_value"].tolist(), strict=True))
    find = risks.get

    def category_risk(transaction: Transaction) -> float:
        return max(-MAX_RISK, min(MAX_RISK, find(category_key(transaction.category), 0.0)))

    return category_risk
