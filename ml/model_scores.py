"""Scores all rows of a data set with a model, with the function that scores in the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.features.entity_risk import ENTITY_OF
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.encodings import ENCODING_NAMES, compile_encoding
from flink_jobs.core.own_features.declaration import is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from flink_jobs.core.models.model import TreeModel
    from flink_jobs.core.models.trees.arrays import Arrays
    from flink_jobs.core.models.trees.walk import Row
    from ml.dataset import Dataset


def score_rows(model: TreeModel, dataset: Dataset) -> NDArray[np.float64]:
    """Return the model's score of every row, 0 to 1, equal to the score in the stream."""
    return apply_rows(model.score_row, input_rows(model.manifest.feature_names, model.extras, dataset))


def apply_rows(score: Callable[[Row], float], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the score of every row of a matrix."""
    return np.fromiter((score(tuple(row)) for row in rows.tolist()), dtype=np.float64, count=len(rows))


def input_rows(names: Sequence[str], extras: Arrays, dataset: Dataset) -> NDArray[np.float64]:
    """Return a model's inputs: rows x ``names``: features, encodings, own features and inputs of entities.

    Args:
        names: inputs in the order of the model.
        extras: the artifact's optional arrays, which hold the tables of the encodings.
        dataset: the rows.

    Raises:
        ValueError: the data set was built without own features or inputs of entities that the model takes.
    """
    inputs = dataset.inputs

    def column(name: str) -> NDArray[np.float64]:
        if name in ENCODING_NAMES:
            return _encoded(name, extras, dataset)
        if is_own(name):
            if dataset.own is None:
                raise ValueError(f"input {name!r} needs a data set with own features")
            return dataset.own.column(name)
        if name in ENTITY_OF:
            if dataset.risk is None:
                raise ValueError(f"input {name!r} needs a data set from with_risk")
            return dataset.risk.column(name)
        return inputs[:, FEATURE_NAMES.index(name)]

    return np.column_stack([column(name) for name in names])


def _encoded(name: str, extras: Arrays, dataset: Dataset) -> NDArray[np.float64]:
    encode = compile_encoding(name, extras)
    return np.fromiter((encode(transaction) for transaction in dataset.transactions()), np.float64, len(dataset))
