"""Fits the tables of an artifact: typical amounts of the population by currency, and the ranks of categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.encodings import (
    CATEGORY_KEY,
    CATEGORY_RANK,
    ENCODING_ARRAYS,
    MAX_KEYS,
    POPULATION_KEY,
    POPULATION_MEAN,
    POPULATION_STD,
    category_table_key,
    population_key,
)
from flink_jobs.core.state.category_habits import log_amount
from ml.columns import NOTHING

if TYPE_CHECKING:
    from flink_jobs.core.models.trees.arrays import Arrays
    from ml.dataset import Dataset

SMALLEST_STD: Final = 0.1


def fit_population(dataset: Dataset) -> Arrays:
    """Return mean and standard deviation of the logarithm of the amount by currency; labels are not used."""
    logs = np.array([log_amount(amount) for amount in dataset.amount.tolist()])  # the logarithm of the serving code
    rows: list[tuple[int, float, float]] = []
    for code in np.unique(dataset.currency.codes).tolist():
        mine = logs[dataset.currency.codes == code]
        rows.append((population_key(dataset.currency.names[code]), mine.mean(), max(mine.std(), SMALLEST_STD)))
    dtypes = ENCODING_ARRAYS[0]
    columns = zip(*sorted(rows), strict=True)
    names = (POPULATION_KEY, POPULATION_MEAN, POPULATION_STD)
    return {name: np.array(column, dtype=dtypes[name]) for name, column in zip(names, columns, strict=True)}


def fit_categories(dataset: Dataset) -> Arrays:
    """Return the rank of each category by its mean logarithm of the amount; labels are not used.

    Only the 1,000 categories with the most rows get a rank. Without a category in the rows, the result is empty.
    """
    codes = dataset.category.codes
    used, counts = np.unique(codes[codes != NOTHING], return_counts=True)
    if not len(used):
        return {}
    frequent = used[np.argsort(-counts, kind="stable")][:MAX_KEYS].tolist()
    logs = np.log1p(dataset.amount)
    means = {dataset.category.names[code]: float(logs[codes == code].mean()) for code in frequent}
    ranked = sorted(means, key=lambda name: (means[name], name))
    ranks = {category_table_key(name): float(rank) for rank, name in enumerate(ranked)}
    dtypes = ENCODING_ARRAYS[1]
    columns = zip(*sorted(ranks.items()), strict=True)
    names = (CATEGORY_KEY, CATEGORY_RANK)
    return {name: np.array(column, dtype=dtypes[name]) for name, column in zip(names, columns, strict=True)}
