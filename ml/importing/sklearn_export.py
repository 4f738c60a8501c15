"""Writes boosted trees of scikit-learn as JSON, for ``streamflow model import --format sklearn-json``.

Run it in the environment that trained the model, because only that environment can load it safely:

    python sklearn_export.py model.joblib model.json rows.csv [column,column,...]

It needs scikit-learn and numpy, and no other file of StreamFlow. ``rows.csv`` gets 2,000 rows on and beside the
thresholds with the model's own predictions; give it as ``--parity``. Names of the columns are needed for a model that
was trained on a table without names.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn

ROWS = 2_000


def to_document(model: Any, names: list[str]) -> dict[str, Any]:  # noqa: ANN401 - scikit-learn ships no types
    """Return the JSON document of a fitted model of two classes.

    Args:
        model: a ``GradientBoostingClassifier`` with log loss, or a ``HistGradientBoostingClassifier``.
        names: its columns in order.

    Raises:
        TypeError: the model is of another kind.
        ValueError: it has more than two classes, another loss, a start model or a split by category.
    """
    kind = type(model).__name__
    if kind not in {"GradientBoostingClassifier", "HistGradientBoostingClassifier"}:
        raise TypeError(f"a {kind} cannot be exported, only boosted trees; take the last step of a pipeline")
    if len(model.classes_) != 2:  # noqa: PLR2004 - fraud or not
        raise ValueError(f"the model has {len(model.classes_)} classes, not two")
    if len(names) != model.n_features_in_:
        raise ValueError(f"the model has {model.n_features_in_} columns, and {len(names)} names are given")
    if model.loss not in {"log_loss", "deviance"}:
        raise ValueError(f"the loss of the model is {model.loss!r}, not log_loss")
    stages = _stages(model) if kind == "GradientBoostingClassifier" else _histogram(model)
    return {
        "format": "sklearn-json",
        "format_version": 1,
        "library_version": sklearn.__version__,
        "estimator": kind,
        "names": names,
        **stages,
    }


def _stages(model: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return the trees of a ``GradientBoostingClassifier``, which rounds its inputs to float32."""
    if model.init is not None and model.init != "zero":
        raise ValueError("the model starts from another model (init)")
    trees = []
    for stage in model.estimators_[:, 0]:
        tree = stage.tree_
        trees.append(
            {
                "feature": tree.feature.tolist(),
                "threshold": tree.threshold.tolist(),
                "left": tree.children_left.tolist(),
                "right": tree.children_right.tolist(),
                "samples": tree.n_node_samples.tolist(),
                "value": (tree.value[:, 0, 0] * model.learning_rate).tolist(),
            }
        )
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))  # noqa: SLF001 - no public name
    return {"inputs": "float32", "base": float(start[0, 0]), "trees": trees}


def _histogram(model: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return the trees of a ``HistGradientBoostingClassifier``, which compares doubles."""
    trees = []
    for (predictor,) in model._predictors:  # noqa: SLF001 - no public name
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        if nodes["is_categorical"].any():
            raise ValueError("the model splits a column by categories")
        trees.append(
            {
                "feature": nodes["feature_idx"].tolist(),
                "threshold": np.where(leaf, 0.0, nodes["num_threshold"]).tolist(),
                "left": np.where(leaf, -1, nodes["left"].astype(np.int64)).tolist(),
                "right": np.where(leaf, -1, nodes["right"].astype(np.int64)).tolist(),
                "samples": nodes["count"].tolist(),
                "value": nodes["value"].tolist(),
            }
        )
    base = float(np.asarray(model._baseline_prediction).ravel()[0])  # noqa: SLF001 - no public name
    return {"inputs": "float64", "base": base, "trees": trees}


def rows_beside(document: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return 2,000 rows whose values are mostly thresholds of their column, or one step of float32 beside them."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0.0, 10.0, (ROWS, len(document["names"])))
    for column in range(rows.shape[1]):
        thresholds = [
            threshold
            for tree in document["trees"]
            for feature, threshold, left in zip(tree["feature"], tree["threshold"], tree["left"], strict=True)
            if left >= 0 and feature == column
        ]
        if thresholds:
            drawn = rng.choice(thresholds, ROWS)
            single = drawn.astype(np.float32)
            up, down = (np.nextafter(single, np.float32(way)) for way in (np.inf, -np.inf))
            choices = [
                drawn,
                single.astype(np.float64),
                up.astype(np.float64),
                down.astype(np.float64),
                rows[:, column],
            ]
            rows[:, column] = np.choose(rng.integers(len(choices), size=ROWS), choices)
    return rows


def export(model: Any, names: list[str], model_file: Path, rows_file: Path) -> None:  # noqa: ANN401 - as above
    """Write the model as JSON, and rows with its predictions as CSV."""
    document = to_document(model, names)
    model_file.write_text(json.dumps(document))
    rows = rows_beside(document)
    predictions = model.predict_proba(rows)[:, 1]
    with rows_file.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "prediction"])
        for row, prediction in zip(rows.tolist(), predictions.tolist(), strict=True):
            writer.writerow([repr(value) for value in (*row, prediction)])


def main(arguments: list[str]) -> int:
    """Run the command; see the docstring of the module."""
    if len(arguments) not in {3, 4}:
        sys.stderr.write("usage: python sklearn_export.py model.joblib model.json rows.csv [column,column,...]\n")
        return 2
    source, model_file, rows_file, *rest = arguments
    model = joblib.load(source)
    names = rest[0].split(",") if rest else [str(name) for name in getattr(model, "feature_names_in_", [])]
    try:
        export(model, names, Path(model_file), Path(rows_file))
    except (TypeError, ValueError) as error:
        sys.stderr.write(f"{source}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
