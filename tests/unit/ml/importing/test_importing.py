"""Models of other libraries score as in their library, and a model that would not is refused with the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.artifact import ModelArrays
from flink_jobs.core.models.manifest import parse_manifest
from flink_jobs.core.models.model import build_model, load_model
from flink_jobs.errors import UserError
from ml.artifact_writer import write_artifact
from ml.importing.float32 import below
from ml.importing.foreign_trees import convert
from ml.importing.formats import ForeignFormat
from ml.importing.importing import READERS, ImportedModel, ImportRequest, import_foreign, measured_on
from ml.importing.lightgbm_text import read_lightgbm
from ml.importing.parity import read_expected, sample_rows
from ml.importing.xgboost_json import read_xgboost
from ml.model_scores import apply_rows
from ml.parameters import TrainingParameters
from tests.unit.ml.synthetic import START_MS, dataset

DATA = Path(__file__).parents[3] / "data" / "foreign_models"
FILES = {
    ForeignFormat.LIGHTGBM: ("lightgbm.txt", "lightgbm_rows.csv"),
    ForeignFormat.XGBOOST: ("xgboost.json", "xgboost_rows.csv"),
    ForeignFormat.ONNX_TREES: ("xgboost.onnx", "xgboost_onnx_rows.csv"),
    ForeignFormat.SKLEARN_JSON: ("sklearn.json", "sklearn_rows.csv"),
}
LIBRARIES = {ForeignFormat.ONNX_TREES: "onnx", ForeignFormat.SKLEARN_JSON: "sklearn"}
NAMES = ("amount_zscore", "velocity_count", "is_night", "spend_24h", "geo_speed_kmh", "category_share")
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def asked(kind: ForeignFormat, **changes: Any) -> ImportRequest:  # noqa: ANN401 - fields of several types
    request = ImportRequest(
        file=DATA / FILES[kind][0],
        format=kind,
        trained_until=LONG_AGO,
        names=NAMES if kind is ForeignFormat.ONNX_TREES else (),
        parity=DATA / FILES[kind][1],
        version=None,
        code_version="1.0",
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
    )
    return replace(request, **changes)


def imported(kind: ForeignFormat, **changes: Any) -> ImportedModel:  # noqa: ANN401 - as above
    return import_foreign(asked(kind, **changes))


@pytest.mark.parametrize("kind", ForeignFormat)
def test_a_real_model_scores_as_its_library(kind: ForeignFormat, tmp_path: Path) -> None:
    model = imported(kind)
    found = model.manifest.parameters
    assert found["imported_from"] == LIBRARIES.get(kind, kind.value)
    assert found["parity_rows"] == 60
    assert 0.0 <= float(found["parity_difference"] or 0.0) <= float(found["parity_tolerance"] or 0.0) <= 2e-6
    directory = write_artifact(tmp_path, model.manifest, model.arrays)
    served = load_model(directory, FEATURE_NAMES)
    expected = read_expected(DATA / FILES[kind][1], served.manifest.feature_names)
    assert np.ptp(expected.predictions) > 0.5, "the rows differ enough to compare"
    scores = apply_rows(served.score_row, expected.rows)
    np.testing.assert_allclose(scores, expected.predictions, rtol=0.0, atol=float(found["parity_tolerance"] or 0.0))
    assert served.version.startswith("20240101-")
    assert served.manifest.training_data.last_event_time_ms == int(LONG_AGO.timestamp() * 1_000)
    assert parse_manifest(model.manifest.to_json()) == model.manifest


@pytest.mark.parametrize("kind", ForeignFormat)
def test_the_parity_check_finds_one_wrong_threshold(kind: ForeignFormat) -> None:
    """Each row lies on or beside thresholds, so a comparison in the other direction shows."""
    foreign = READERS[kind]((DATA / FILES[kind][0]).read_bytes())

    def beside(boundary: float) -> float:
        if kind is ForeignFormat.LIGHTGBM:
            return float(np.nextafter(boundary, -np.inf))  # as if the split compared by <
        return float(np.nextafter(np.float32(boundary), np.float32(np.inf)))  # as if it compared by <=

    moved = tuple(
        replace(tree, boundary=[beside(one) for one in tree.boundary] if place == 0 else tree.boundary)
        for place, tree in enumerate(foreign.trees)
    )
    rows = read_expected(DATA / FILES[kind][1], NAMES)
    assert foreign.names in {NAMES, ()}
    scores, manifest = [], imported(kind).manifest
    for trees in (foreign.trees, moved):
        arrays = convert(replace(foreign, trees=trees), NAMES).arrays
        scores.append(apply_rows(build_model(manifest, ModelArrays(arrays)).score_row, rows.rows))
    assert np.abs(scores[0] - rows.predictions).max() < 2e-6 < np.abs(scores[1] - scores[0]).max()


def test_a_prediction_that_differs_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = (DATA / "lightgbm_rows.csv").read_text().splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",0.5"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"row 3 of rows\.csv scores 0\.\d+ here and 0\.5 there"):
        imported(ForeignFormat.LIGHTGBM, parity=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("prediction", "score", 1), "lacks the columns prediction"),
        (lambda text: text.replace("is_night", "night", 1), "lacks the columns is_night"),
        (lambda text: text.splitlines()[0], "has no rows"),
        (lambda text: text.splitlines()[0] + "\n" + ",".join("x" * 7), "holds a value that is not a number"),
        (lambda text: text.splitlines()[0] + "\n1,2", "holds a value that is not a number"),
    ],
)
def test_a_file_of_rows_that_cannot_be_compared(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(change((DATA / "lightgbm_rows.csv").read_text()))
    with pytest.raises(UserError, match=message):
        imported(ForeignFormat.LIGHTGBM, parity=path)


def test_without_library_and_predictions_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.importing.parity.importlib.import_module", _no_module)
    with pytest.raises(UserError, match=r"lightgbm cannot predict here, and no predictions are given.*--parity"):
        imported(ForeignFormat.LIGHTGBM, parity=None)


def _no_module(name: str) -> None:
    raise ImportError(name)


# ---- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ForeignFormat)
def test_unknown_inputs_are_named(kind: ForeignFormat) -> None:
    names = ["amount_zscore", "velocity_count", "night", "spend_24h", "speed", "category_share"]
    with pytest.raises(UserError, match=r"does not compute these inputs of the model: night.*is_night"):
        imported(kind, names=names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["amount_zscore"] * 6, "takes amount_zscore twice"),
        (["amount_zscore", "is_night"], "--names has 2 names, and the model has 6 inputs"),
    ],
)
def test_names_that_do_not_fit(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        imported(ForeignFormat.XGBOOST, names=names)


def test_a_file_without_names_needs_names() -> None:
    document = json.loads((DATA / "xgboost.json").read_bytes())
    document["learner"]["feature_names"] = []
    foreign = read_xgboost(json.dumps(document).encode())
    with pytest.raises(UserError, match=r"does not name the inputs.*--names"):
        convert(foreign)
    with pytest.raises(UserError, match="splits on input 6, and 5 are named"):
        convert(foreign, FEATURE_NAMES[:5])
    assert convert(foreign, FEATURE_NAMES[:6]).names == FEATURE_NAMES[:6]


def test_an_unknown_input_without_a_split_is_left_out() -> None:
    foreign = read_lightgbm((DATA / "lightgbm.txt").read_bytes())
    tree = replace(foreign.trees[0], feature=[min(0, place) for place in foreign.trees[0].feature])
    converted = convert(replace(foreign, trees=(tree,), names=("amount_zscore", "colour")))
    assert (converted.names, converted.unused) == (("amount_zscore",), ("colour",))


# ---- models that the detector cannot reproduce -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"^objective=.*$", "objective=regression", "objective of the model is 'regression'"),
        (r"^objective=.*$\n", "", "objective of the model is 'none'"),
        (r"^num_class=1$", "num_class=3", "more than two classes"),
        (r"^num_tree_per_iteration=1$", "num_tree_per_iteration=3", "more than two classes"),
        (r"^max_feature_idx", "average_output\nmax_feature_idx", "averages its trees"),
        (r"^decision_type=\d+", "decision_type=1", "by categories"),
        (r"^decision_type=\d+", "decision_type=6", "zero_as_missing"),
        (r"^decision_type=\d+", "decision_type=10", "rows in which .* is missing"),
        (r"^is_linear=0", "is_linear=1", "linear_tree"),
        (r"^leaf_value=\S+ ", "leaf_value=", "not a model that LightGBM saved as text .leaf_value has"),
        (r"^feature_names=.*$\n", "", "not a model that LightGBM saved as text"),
        (r"^left_child=\S+", "left_child=0", "wrong link"),
        (r"^left_child=\S+", "left_child=99", "wrong link"),
    ],
)
def test_lightgbm_models_that_would_score_otherwise_are_refused(pattern: str, replacement: str, message: str) -> None:
    text, count = re.subn(pattern, replacement, (DATA / "lightgbm.txt").read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    with pytest.raises(UserError, match=message):
        convert(read_lightgbm(text.encode()))


def changed(path: str, value: object) -> bytes:
    """Return the XGBoost model with one value changed; the path is separated by dots."""
    document = json.loads((DATA / "xgboost.json").read_bytes())
    *parents, last = path.split(".")
    place: Any = document
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(document).encode()


TREE = "learner.gradient_booster.model.trees.0"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("learner.objective.name", "reg:squarederror", "objective of the model is 'reg:squarederror'"),
        ("learner.gradient_booster.name", "dart", "of the kind 'dart'"),
        ("learner.learner_model_param.num_class", "3", "more than two classes"),
        ("learner.learner_model_param.base_score", "0", "base_score of the model is 0"),
        ("learner.attributes", {"best_iteration": "4"}, "5 of its 10 rounds are the best"),
        (f"{TREE}.split_type.0", 1, "by categories"),
        (f"{TREE}.tree_param.size_leaf_vector", "2", "several outputs"),
        (f"{TREE}.left_children.0", 0, "wrong link"),
        (f"{TREE}.left_children", [], "not a model that XGBoost saved as JSON"),
        ("learner.gradient_booster.model", {}, "not a model that XGBoost saved as JSON"),
    ],
)
def test_xgboost_models_that_would_score_otherwise_are_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert(read_xgboost(changed(path, value)))


@pytest.mark.parametrize("kind", ForeignFormat)
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b"tree\n", b"null"])
def test_a_file_that_is_no_model(kind: ForeignFormat, content: bytes) -> None:
    with pytest.raises(UserError, match="the file is not a model"):
        READERS[kind](content)


def test_base_score_is_read_in_both_spellings() -> None:
    one, two = (
        read_xgboost(changed("learner.learner_model_param.base_score", text)) for text in ("2.5E-1", "[2.5E-1]")
    )
    assert one.base == two.base == pytest.approx(np.log(1.0 / 3.0), abs=1e-7)


# ---- details ----------------------------------------------------------------------------------------------------


def test_a_double_goes_left_exactly_where_its_float32_is_below_the_threshold() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.concatenate([rng.normal(0, 10, 500), [0.0, -0.0, 1e-45, -1e-45, 1.0, 3e38]]).astype(np.float32)
    boundary = below(thresholds)
    for step in (-np.inf, np.inf):
        beside = np.nextafter(boundary, step)
        for values in (boundary, beside, thresholds.astype(np.float64)):
            assert np.array_equal(values <= boundary, values.astype(np.float32) < thresholds)


def test_sampled_rows_lie_on_thresholds() -> None:
    arrays = convert(read_lightgbm((DATA / "lightgbm.txt").read_bytes())).arrays
    rows = sample_rows(arrays, 6)
    for place in range(6):
        assert np.isin(arrays.threshold[arrays.feature == place], rows[:, place]).all()


def test_later_labelled_rows_choose_the_blend_and_measure() -> None:
    rows = dataset(3_000)
    middle = datetime.fromtimestamp(START_MS / 1_000 + 100, UTC)
    model = imported(ForeignFormat.LIGHTGBM, trained_until=middle)
    manifest = measured_on(model, rows, TrainingParameters()).manifest
    assert manifest.blend is not None
    later = rows.event_time_ms > START_MS + 100_000
    assert manifest.metrics["rows"] + manifest.blend.rows == later.sum() < len(rows)
    assert manifest.reference is not None
    with pytest.raises(UserError, match="no rows are later than the training data"):
        measured_on(
            imported(ForeignFormat.LIGHTGBM, trained_until=datetime(2030, 1, 1, tzinfo=UTC)), rows, TrainingParameters()
        )
