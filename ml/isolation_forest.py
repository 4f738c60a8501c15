"""Exports a fitted scikit-learn ``IsolationForest`` as plain arrays.

Only this module depends on scikit-learn's internal tree layout. ``tests/unit/ml/test_forest_parity.py`` compares the
export with ``score_samples`` on random forests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, LEAF, ForestArrays
from flink_jobs.core.models.trees.checks import check_trees

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import IsolationForest


def export_forest(model: IsolationForest) -> ForestArrays:
    """Flatten a fitted forest.

    Raises:
        sklearn.exceptions.NotFittedError: ``model`` is not fitted.
        ModelError: the forest exceeds a limit, or has a non-finite threshold because it was trained on infinities.
    """
    check_is_fitted(model)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "threshold", "left", "right", "n_samples")}
    sizes = [0]
    # With max_features = 1.0 the trees use all columns in their order. scikit-learn then ignores
    # `estimators_features_`, which may hold a permutation.
    subsampled = model._max_features != model.n_features_in_  # noqa: SLF001 - no public name for it
    for estimator, columns in zip(model.estimators_, model.estimators_features_, strict=True):
        tree = estimator.tree_
        leaf = tree.children_left == LEAF
        feature = columns[np.where(leaf, 0, tree.feature)] if subsampled else tree.feature
        parts["feature"].append(np.where(leaf, LEAF, feature))
        parts["threshold"].append(np.where(leaf, 0.0, tree.threshold))
        parts["left"].append(tree.children_left)
        parts["right"].append(tree.children_right)
        parts["n_samples"].append(tree.n_node_samples)
        sizes.append(tree.node_count)
    arrays = ForestArrays(
        **{name: np.concatenate(values).astype(ARRAY_DTYPES[name]) for name, values in parts.items()},
        tree_offsets=np.cumsum(sizes).astype(ARRAY_DTYPES["tree_offsets"]),
        max_samples=np.array([model.max_samples_], dtype=ARRAY_DTYPES["max_samples"]),
    )
    check_trees(arrays, model.n_features_in_)
    return arrays
