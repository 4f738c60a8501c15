"""Reads boosted trees of scikit-learn from the JSON that ``sklearn_export.py`` writes.

A ``GradientBoostingClassifier`` rounds its inputs to float32 and compares them with double thresholds; a
``HistGradientBoostingClassifier`` compares doubles. An input ``<= threshold`` goes left in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.core.models.trees.linked_trees import float32_boundary
from flink_jobs.errors import UserError
from ml.importing.foreign_trees import ForeignModel, ForeignTree

FORMAT: Final = ("sklearn-json", 1)
TOLERANCE: Final = 1e-10
"""scikit-learn adds doubles in the order of the trees; the detector adds exactly."""
INPUTS: Final = ("float32", "float64")
"""The type to which the library rounds its inputs."""
EXPORT: Final = "write it with ml/importing/sklearn_export.py in the environment of the model"


def read_sklearn(content: bytes) -> ForeignModel:
    """Return the model of a JSON file.

    Raises:
        UserError: the file is no such model.
    """
    try:
        document = orjson.loads(content)
        _check_head(document)
        trees = tuple(_tree(tree, rounds=document["inputs"] == "float32") for tree in document["trees"])
        names, base = tuple(map(str, document["names"])), float(document["base"])
        version = f"{document['library_version']} {document['estimator']}"
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"the file is not a model of scikit-learn in JSON ({error})"
        raise UserError(what, EXPORT) from None
    return ForeignModel("sklearn", version, names, trees, base, TOLERANCE)


def _check_head(document: Mapping[str, Any]) -> None:
    if (document["format"], document["format_version"]) != FORMAT:
        raise ValueError(f"its format is {document['format']!r} {document['format_version']!r}")
    if document["inputs"] not in INPUTS:
        raise ValueError(f"its inputs are {document['inputs']!r}")


def _tree(tree: Mapping[str, Any], *, rounds: bool) -> ForeignTree:
    inner = [child != LEAF for child in tree["left"]]
    threshold = np.array(tree["threshold"], dtype=np.float64)
    boundary = float32_boundary(threshold) if rounds else threshold
    columns = (tree["feature"], tree["right"], tree["samples"], tree["value"])
    if len({len(inner), len(threshold), *map(len, columns)}) != 1:
        raise ValueError("the columns of a tree differ in length")
    return ForeignTree(
        feature=[int(place) if split else LEAF for place, split in zip(tree["feature"], inner, strict=True)],
        boundary=boundary.tolist(),
        left=tree["left"],
        right=tree["right"],
        weight=[max(1, int(count)) for count in tree["samples"]],
        value=[float(value) for value in tree["value"]],
    )
