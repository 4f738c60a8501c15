"""Exports a fitted scikit-learn ``HistGradientBoostingClassifier`` as plain arrays.

Only this module depends on the internal layout of its trees. ``tests/unit/ml/test_boosting_parity.py`` compares the
export with ``predict_proba`` on random models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, LEAF, BoostingArrays
from flink_jobs.core.models.trees.checks import check_trees

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import HistGradientBoostingClassifier


def export_boosting(model: HistGradientBoostingClassifier) -> BoostingArrays:
    """Flatten a fitted two-class model that was trained on finite numbers without categorical columns.

    scikit-learn numbers the nodes depth-first with parents first, which is the order of our arrays.

    Raises:
        sklearn.exceptions.NotFittedError: ``model`` is not fitted.
        ModelError: the model exceeds a limit of the serving side, or needs more than plain comparisons.
        ValueError: the model has more than two classes, or a categorical split.
    """
    check_is_fitted(model)
    if len(model.classes_) != 2:  # noqa: PLR2004 - fraud or not
        raise ValueError(f"{len(model.classes_)} classes: a score needs a model with two")
    parts: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "n_samples", "value")
    }
    sizes = [0]
    for (predictor,) in model._predictors:  # noqa: SLF001 - no public name for it
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        if nodes["is_categorical"].any():
            raise ValueError("a categorical split cannot be exported")
        parts["feature"].append(np.where(leaf, LEAF, nodes["feature_idx"]))
        parts["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
        parts["left"].append(np.where(leaf, LEAF, nodes["left"].astype(np.int64)))
        parts["right"].append(np.where(leaf, LEAF, nodes["right"].astype(np.int64)))
        parts["n_samples"].append(nodes["count"])
        parts["value"].append(np.where(leaf, nodes["value"], 0.0))
        sizes.append(len(nodes))
    arrays = BoostingArrays(
        **{name: np.concatenate(values).astype(ARRAY_DTYPES[name]) for name, values in parts.items()},
        tree_offsets=np.cumsum(sizes).astype(ARRAY_DTYPES["tree_offsets"]),
        base=np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1),  # noqa: SLF001 - same
    )
    check_trees(arrays, model.n_features_in_)
    return arrays
