# mypy: ignore-errors
"""Makes the models and predictions of this folder with the libraries themselves; see README.md.

The rows put inputs on thresholds of the models and one step of float32 or float64 beside them.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import lightgbm
import numpy as np
import onnxmltools
import onnxruntime
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier

from ml.importing.sklearn_export import rows_beside as rows_beside_trees
from ml.importing.sklearn_export import to_document

HERE = Path(__file__).parent
NAMES = ["amount_zscore", "velocity_count", "is_night", "spend_24h", "geo_speed_kmh", "category_share"]
ROWS = 60


def training_rows() -> tuple[np.ndarray, np.ndarray]:
    """Return 4,000 rows of the six inputs, and labels with a tenth of frauds."""
    rng = np.random.default_rng(18)
    fraud = rng.random(4_000) < 0.1
    rows = np.column_stack(
        [
            rng.normal(2.5 * fraud, 1.0),
            rng.integers(1, 5, 4_000) + 4 * (fraud & (rng.random(4_000) < 0.5)),
            rng.random(4_000) < 0.1 + 0.6 * fraud,
            rng.normal(1.5 * fraud, 1.0),
            np.where(rng.random(4_000) < 0.3, rng.exponential(200.0 + 900.0 * fraud), 0.0),
            rng.random(4_000) * np.where(fraud, 0.3, 1.0),
        ]
    ).astype(np.float64)
    return rows, fraud.astype(np.int32)


def rows_beside(thresholds: dict[int, list[float]], seed: int) -> np.ndarray:
    """Return rows whose values are mostly thresholds, or one step beside them."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(1.0, 2.0, (ROWS, len(NAMES)))
    for place, values in thresholds.items():
        drawn = rng.choice(values, ROWS)
        single = drawn.astype(np.float32)
        steps = [
            drawn,
            np.nextafter(drawn, np.inf),
            single,
            np.nextafter(single, np.float32(np.inf)),
            np.nextafter(single, np.float32(-np.inf)),
            rows[:, place],
        ]
        rows[:, place] = np.choose(rng.integers(len(steps), size=ROWS), [np.asarray(step, float) for step in steps])
    return rows


def write(name: str, rows: np.ndarray, predictions: np.ndarray) -> None:
    """Write rows with predictions; every number is exact."""
    with (HERE / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*NAMES, "prediction"])
        for row, one in zip(rows, predictions, strict=True):
            writer.writerow([repr(float(value)) for value in (*row, one)])


def make_lightgbm(rows: np.ndarray, labels: np.ndarray) -> None:
    parameters = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.2, "seed": 1, "num_threads": 1,
                  "deterministic": True, "verbose": -1, "sigmoid": 0.8}  # fmt: skip
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, labels, feature_name=NAMES), num_boost_round=10)
    booster.save_model(str(HERE / "lightgbm.txt"))
    thresholds: dict[int, list[float]] = {}
    text = booster.model_to_string()
    splits, limits = (re.findall(rf"^{name}=(.*)$", text, re.MULTILINE) for name in ("split_feature", "threshold"))
    for features, values in zip(splits, limits, strict=True):
        for place, value in zip(features.split(), values.split(), strict=True):
            thresholds.setdefault(int(place), []).append(float(value))
    sampled = rows_beside(thresholds, 2)
    write("lightgbm_rows.csv", sampled, lightgbm.Booster(model_file=str(HERE / "lightgbm.txt")).predict(sampled))


def make_xgboost(rows: np.ndarray, labels: np.ndarray) -> None:
    parameters = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "seed": 1, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, labels, feature_names=NAMES), num_boost_round=10)
    booster.save_model(str(HERE / "xgboost.json"))
    thresholds: dict[int, list[float]] = {}
    for tree in json.loads((HERE / "xgboost.json").read_text())["learner"]["gradient_booster"]["model"]["trees"]:
        nodes = zip(tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True)
        for left, place, value in nodes:
            if left != -1:
                thresholds.setdefault(place, []).append(float(np.float32(value)))
    sampled = rows_beside(thresholds, 3)
    fresh = xgboost.Booster(model_file=str(HERE / "xgboost.json"))
    write("xgboost_rows.csv", sampled, fresh.predict(xgboost.DMatrix(sampled, feature_names=NAMES)))


def make_onnx(rows: np.ndarray, labels: np.ndarray) -> None:
    """Write two files with both kinds of comparison: ``<=`` of LightGBM and ``<`` of XGBoost."""
    leaves = lightgbm.LGBMClassifier(n_estimators=10, num_leaves=7, learning_rate=0.2, n_jobs=1, verbose=-1)
    depth = xgboost.XGBClassifier(n_estimators=10, max_depth=3, n_jobs=1)
    inputs = [("inputs", FloatTensorType([None, len(NAMES)]))]
    for name, model in (("lightgbm", leaves), ("xgboost", depth)):
        model.fit(rows, labels)
        convert = getattr(onnxmltools, f"convert_{name}")
        content = convert(model, initial_types=inputs).SerializeToString()
        (HERE / f"{name}.onnx").write_bytes(content)
        session = onnxruntime.InferenceSession(content)
        nodes = onnxmltools.utils.load_model(str(HERE / f"{name}.onnx")).graph.node
        held = {attribute.name: attribute for attribute in nodes[0].attribute}
        thresholds: dict[int, list[float]] = {}
        splits = zip(
            held["nodes_featureids"].ints, held["nodes_values"].floats, held["nodes_modes"].strings, strict=True
        )
        for place, value, mode in splits:
            if mode != b"LEAF":
                thresholds.setdefault(place, []).append(float(np.float32(value)))
        sampled = rows_beside(thresholds, 4)
        answers = session.run(None, {"inputs": sampled.astype(np.float32)})[1]
        fraud = [one[1] if isinstance(one, dict) else one[1].item() for one in answers]
        write(f"{name}_onnx_rows.csv", sampled, np.array(fraud))


def make_sklearn(rows: np.ndarray, labels: np.ndarray) -> None:
    """Write a model that rounds its inputs to float32 and compares with doubles."""
    model = GradientBoostingClassifier(n_estimators=10, max_depth=3, random_state=0).fit(rows, labels)
    document = to_document(model, NAMES)
    (HERE / "sklearn.json").write_text(json.dumps(document))
    sampled = rows_beside_trees(document)[:ROWS]
    write("sklearn_rows.csv", sampled, model.predict_proba(sampled)[:, 1])


if __name__ == "__main__":
    for make in (make_lightgbm, make_xgboost, make_onnx, make_sklearn):
        make(*training_rows())
    versions = f"lightgbm {lightgbm.__version__}, xgboost {xgboost.__version__}, numpy {np.__version__}"
    sys.stdout.write(f"{versions}\n")
