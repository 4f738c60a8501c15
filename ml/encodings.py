"""Fits the tables of an artifact: typical amounts of the population by currency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.encodings import (
    ENCODING_ARRAYS,
    POPULATION_KEY,
    POPULATION_MEAN,
    POPULATION_STD,
    population_key,
)
from flink_jobs.core.state.category_habits import log_amount

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
    (dtypes,) = ENCODING_ARRAYS
    columns = zip(*sorted(rows), strict=True)
    names = (POPULATION_KEY, POPULATION_MEAN, POPULATION_STD)
    return {name: np.array(column, dtype=dtypes[name]) for name, column in zip(names, columns, strict=True)}
