"""Boosted trees of scikit-learn score as ``predict_proba`` after export and import."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier

from flink_jobs.errors import UserError
from ml.importing.formats import ForeignFormat
from ml.importing.importing import ImportRequest, import_foreign
from ml.importing.sklearn_export import export, main, to_document
from ml.importing.sklearn_json import read_sklearn

NAMES = ["amount_zscore", "velocity_count", "spend_24h"]
DATA = Path(__file__).parents[3] / "data" / "foreign_models"


def rows_and_labels(classes: int = 2) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    rows = rng.normal(0.0, 3.0, (800, len(NAMES)))
    return rows, (rows.sum(axis=1) > 1.0).astype(int) if classes == 2 else rng.integers(0, classes, 800)


MODELS = {
    "stages": GradientBoostingClassifier(n_estimators=8, max_depth=4, random_state=0),
    "stages from zero": GradientBoostingClassifier(n_estimators=8, init="zero", random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=9, random_state=0),
}


@pytest.mark.parametrize("kind", MODELS)
def test_scores_equal_predict_proba(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind].fit(*rows_and_labels())
    joblib.dump(model, tmp_path / "model.joblib")
    files = [str(tmp_path / name) for name in ("model.joblib", "model.json", "rows.csv")]
    assert main([*files, ",".join(NAMES)]) == 0
    imported = import_foreign(
        ImportRequest(
            file=tmp_path / "model.json",
            format=ForeignFormat.SKLEARN_JSON,
            trained_until=datetime(2024, 1, 1, tzinfo=UTC),
            names=(),
            parity=tmp_path / "rows.csv",
            version=None,
            code_version="1.0",
            created_at=datetime(2026, 11, 27, tzinfo=UTC),
        )
    )
    assert imported.manifest.feature_names == tuple(NAMES)
    assert imported.manifest.parameters["parity_rows"] == 2_000
    with (tmp_path / "rows.csv").open(newline="") as file:
        predictions = [float(row["prediction"]) for row in csv.DictReader(file)]
    assert np.ptp(predictions) > 0.3, "the rows differ enough to compare"


@pytest.mark.parametrize(
    ("model", "classes", "names", "message"),
    [
        (RandomForestClassifier(n_estimators=2, max_depth=2), 2, NAMES, "a RandomForestClassifier cannot be exported"),
        (GradientBoostingClassifier(n_estimators=1), 3, NAMES, "3 classes, not two"),
        (GradientBoostingClassifier(n_estimators=1), 2, NAMES[:2], "3 columns, and 2 names"),
        (GradientBoostingClassifier(n_estimators=1, loss="exponential"), 2, NAMES, "'exponential', not log_loss"),
        (
            GradientBoostingClassifier(n_estimators=1, init=RandomForestClassifier(n_estimators=2)),
            2,
            NAMES,
            "starts from another model",
        ),
    ],
)
def test_a_model_that_would_score_otherwise_is_not_exported(
    model: GradientBoostingClassifier, classes: int, names: list[str], message: str, tmp_path: Path
) -> None:
    model.fit(*rows_and_labels(classes))
    with pytest.raises((TypeError, ValueError), match=message):
        export(model, names, tmp_path / "model.json", tmp_path / "rows.csv")
    assert not list(tmp_path.iterdir())


def test_a_split_by_category_is_not_exported() -> None:
    rows, labels = rows_and_labels()
    rows[:, 0] = np.arange(len(rows)) % 7
    labels = (rows[:, 0] % 2).astype(int)
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(rows, labels)
    with pytest.raises(ValueError, match="by categories"):
        to_document(model, NAMES)


def test_the_command_explains_wrong_use(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([]) == 2
    joblib.dump(RandomForestClassifier(n_estimators=1, max_depth=1).fit(*rows_and_labels()), tmp_path / "model.joblib")
    assert main([str(tmp_path / name) for name in ("model.joblib", "model.json", "rows.csv")]) == 1
    told = capsys.readouterr().err
    assert "usage: python sklearn_export.py" in told
    assert "a RandomForestClassifier cannot be exported" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(format_version=2), "its format is 'sklearn-json' 2.*sklearn_export.py"),
        (lambda document: document.update(inputs="float16"), "its inputs are 'float16'"),
        (lambda document: document.pop("base"), "'base'"),
        (lambda document: document["trees"][0]["value"].pop(), "columns of a tree differ in length"),
    ],
)
def test_another_document_is_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    document = json.loads((DATA / "sklearn.json").read_bytes())
    change(document)
    with pytest.raises(UserError, match=message):
        read_sklearn(json.dumps(document).encode())
