"""Encodings: model inputs computed from tables in the artifact, such as the usual amounts of all customers.

An encoding describes the whole population, which the state of one customer cannot. Its table is learnt from the
training rows and stored in the artifact beside the trees, so a model and its tables always come from the same training
run. An encoding costs one dictionary look-up per transaction.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.table import FeatureSpec
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.state.category_habits import log_amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.arrays import Arrays
    from flink_jobs.core.transaction import Transaction

MAX_POPULATION_ZSCORE: Final = 20.0
MAX_KEYS: Final = 1_000
NO_RANK: Final = -1.0
"""Value of ``category_rank`` for a transaction without a known category."""

ENCODINGS: Final = (
    FeatureSpec(
        "population_zscore", "standard deviations", -MAX_POPULATION_ZSCORE, MAX_POPULATION_ZSCORE, 0.0,
        "same value: no history is needed; 0 for a currency without training rows",
        "distance of the amount's logarithm from the mean of all customers in this currency",
    ),
    FeatureSpec(
        "category_rank", "rank", NO_RANK, MAX_KEYS - 1.0, NO_RANK,
        f"same value: no history is needed; {NO_RANK:g} without a category, or for one without training rows",
        "rank of the category by its mean logarithm of the amount, among all customers; 0 is the cheapest category",
    ),
)  # fmt: skip
"""The inputs that a model can have besides the features of the stream."""
ENCODING_NAMES: Final = tuple(spec.name for spec in ENCODINGS)
ENCODING_NEUTRALS: Final = {spec.name: spec.neutral for spec in ENCODINGS}

POPULATION_KEY, POPULATION_MEAN, POPULATION_STD = "population_key", "population_mean", "population_std"
CATEGORY_KEY, CATEGORY_RANK = "category_key", "category_rank"
ENCODING_ARRAYS: Final[tuple[dict[str, np.dtype[np.generic]], ...]] = (
    {POPULATION_KEY: np.dtype("<u4"), POPULATION_MEAN: np.dtype("<f8"), POPULATION_STD: np.dtype("<f8")},
    {CATEGORY_KEY: np.dtype("<u4"), CATEGORY_RANK: np.dtype("<f8")},
)
"""The arrays of each encoding, in the order of ``ENCODINGS``: ascending keys, and arrays of the same length."""


class PopulationHabit(NamedTuple):
    """Mean and standard deviation of the logarithms of all customers' amounts in one currency."""

    mean: float
    std: float


def population_key(currency: str) -> int:
    """Return the table key (32 bits) of a currency; the keys of all ISO codes are distinct."""
    return zlib.crc32(currency.encode())


def category_table_key(category: str) -> int:
    """Return the table key (32 bits) of a category; two of 1,000 categories share one with probability 1 in 8,600."""
    return zlib.crc32(category.encode())


def compile_encoding(name: str, extras: Arrays) -> Callable[[Transaction], float]:
    """Build the function from a transaction to one encoding.

    Raises:
        ModelError: ``BAD_ARRAYS`` when the artifact lacks the arrays of the encoding, or they are not a valid table.
    """
    group = ENCODING_ARRAYS[ENCODING_NAMES.index(name)]
    if any(array not in extras for array in group):
        raise ModelError(ModelFault.BAD_ARRAYS, f"input {name!r} needs the arrays {', '.join(group)}")
    return _population(extras) if name == "population_zscore" else _category(extras)


def _population(extras: Arrays) -> Callable[[Transaction], float]:
    _check_population(extras)
    columns = (extras[array].tolist() for array in (POPULATION_KEY, POPULATION_MEAN, POPULATION_STD))
    habits = {key: PopulationHabit(mean, std) for key, mean, std in zip(*columns, strict=True)}
    find = habits.get

    def population_zscore(transaction: Transaction) -> float:
        habit = find(population_key(transaction.currency))
        if habit is None:
            return 0.0
        amount = major_amount(transaction.amount_minor, transaction.currency)
        zscore = (log_amount(amount) - habit.mean) / habit.std
        return max(-MAX_POPULATION_ZSCORE, min(MAX_POPULATION_ZSCORE, zscore))

    return population_zscore


def _category(extras: Arrays) -> Callable[[Transaction], float]:
    keys, ranks = np.asarray(extras[CATEGORY_KEY], dtype=np.int64), np.asarray(extras[CATEGORY_RANK], dtype=np.float64)
    if not 1 <= len(keys) <= MAX_KEYS or len(keys) != len(ranks) or (np.diff(keys) <= 0).any():
        detail = f"the category table needs 1 to {MAX_KEYS} ascending keys, and a rank for each"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
    if not ((ranks >= 0.0) & (ranks < MAX_KEYS)).all():  # also refuses NaN
        raise ModelError(ModelFault.BAD_ARRAYS, f"a rank of the category table is not from 0 to {MAX_KEYS - 1}")
    find = dict(zip(keys.tolist(), ranks.tolist(), strict=True)).get

    def category_rank(transaction: Transaction) -> float:
        category = transaction.category
        return NO_RANK if category is None else find(category_table_key(category), NO_RANK)

    return category_rank


def _check_population(extras: Arrays) -> None:
    keys = np.asarray(extras[POPULATION_KEY], dtype=np.int64)
    means, stds = (np.asarray(extras[name], dtype=np.float64) for name in (POPULATION_MEAN, POPULATION_STD))
    if not 1 <= len(keys) <= MAX_KEYS or not len(keys) == len(means) == len(stds):
        detail = f"the population table needs 1 to {MAX_KEYS} keys, and columns of equal length"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
    if (np.diff(keys) <= 0).any() or not (np.isfinite(means) & np.isfinite(stds) & (stds > 0.0)).all():
        detail = "the population table has keys that do not ascend, or an invalid mean or standard deviation"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
