"""Trees in ONNX files score as in ONNX Runtime, and a file with anything else is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flink_jobs.errors import UserError
from ml.importing.foreign_trees import ForeignTree, convert
from ml.importing.formats import ForeignFormat
from ml.importing.importing import ImportRequest, import_foreign
from ml.importing.onnx_message import parse_onnx
from ml.importing.onnx_trees import read_onnx_trees
from ml.importing.parity import ask_library

DATA = Path(__file__).parents[3] / "data" / "foreign_models"
NAMES = ("amount_zscore", "velocity_count", "is_night", "spend_24h", "geo_speed_kmh", "category_share")


def asked(name: str, parity: Path | None) -> ImportRequest:
    return ImportRequest(
        file=DATA / name,
        format=ForeignFormat.ONNX_TREES,
        trained_until=datetime(2024, 1, 1, tzinfo=UTC),
        names=NAMES,
        parity=parity,
        version=None,
        code_version="1.0",
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
    )


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_both_kinds_of_comparison_score_as_in_onnx_runtime(library: str) -> None:
    """LightGBM's file compares by ``<=``, XGBoost's by ``<``."""
    found = import_foreign(asked(f"{library}.onnx", DATA / f"{library}_onnx_rows.csv")).manifest.parameters
    assert found["library_version"] == "OnnxMLTools 1.16.0"
    assert found["parity_rows"] == 60
    assert float(found["parity_difference"] or 0.0) <= float(found["parity_tolerance"] or 0.0)


def changed(change: Callable[[Any], object]) -> bytes:
    """Return XGBoost's file with one change."""
    model = parse_onnx((DATA / "xgboost.onnx").read_bytes())
    change(model.graph)
    return bytes(model.SerializeToString())


def attribute(graph: Any, name: str) -> Any:  # noqa: ANN401 - protobuf makes the classes when the program runs
    node = next(node for node in graph.node if node.op_type == "TreeEnsembleClassifier")
    return next((one for one in node.attribute if one.name == name), None) or node.attribute.add(name=name)


def scaled(graph: Any) -> None:  # noqa: ANN401 - as above
    graph.node.add(op_type="Scaler", input=[graph.input[0].name], output=["scaled"])
    graph.node[0].input[0] = "scaled"


def set_mode(graph: Any, mode: bytes) -> None:  # noqa: ANN401 - as above
    attribute(graph, "nodes_modes").strings[0] = mode


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph.node.add(op_type="TreeEnsembleClassifier"), "2 nodes of trees, not one"),
        (lambda graph: setattr(graph.node[0], "op_type", "LinearClassifier"), "0 nodes of trees.*LinearClassifier"),
        (lambda graph: setattr(graph.node[0], "op_type", "TreeEnsembleRegressor"), "are a TreeEnsembleRegressor"),
        (lambda graph: graph.input.add(name="age"), "2 inputs, not one table"),
        (lambda graph: setattr(graph.input[0].type.tensor_type, "elem_type", 11), "input of the model is not float32"),
        (scaled, r"changes its inputs before the trees \(Scaler\).*no scaling"),
        (lambda graph: graph.node[0].input.__setitem__(0, "elsewhere"), "not a model of boosted trees in ONNX"),
        (lambda graph: attribute(graph, "class_ids").ints.append(1), "give 2 scores, not one"),
        (lambda graph: attribute(graph, "classlabels_int64s").ints.append(2), "give 3 scores, not one"),
        (lambda graph: setattr(attribute(graph, "post_transform"), "s", b"NONE"), "does not add log-odds.*NONE"),
        (lambda graph: attribute(graph, "base_values").floats.append(1.0), "several base values"),
        (lambda graph: attribute(graph, "nodes_values_as_tensor"), "holds doubles"),
        (lambda graph: set_mode(graph, b"BRANCH_EQ"), "splits of the kind BRANCH_EQ"),
        (lambda graph: attribute(graph, "nodes_values").floats.append(1.0), "not a model of boosted trees in ONNX"),
        (lambda graph: attribute(graph, "nodes_truenodeids").ints.__setitem__(0, 77), "not a model of boosted trees"),
        (lambda graph: attribute(graph, "nodes_truenodeids").ints.__setitem__(0, 0), "wrong link"),
    ],
)
def test_a_model_that_would_score_otherwise_is_refused(change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert(read_onnx_trees(changed(change)), NAMES)


def test_a_node_that_changes_nothing_may_stand_before_the_trees() -> None:
    def through_a_cast(graph: Any) -> None:  # noqa: ANN401 - as above
        graph.node.add(op_type="Cast", input=[graph.input[0].name], output=["cast"])
        graph.node[0].input[0] = "cast"

    assert read_onnx_trees(changed(through_a_cast)) == read_onnx_trees((DATA / "xgboost.onnx").read_bytes())


def goes_left(tree: ForeignTree, value: float) -> bool:
    return value <= tree.boundary[0]


@pytest.mark.parametrize(
    ("mode", "smaller_is_left"),
    [
        (b"BRANCH_LT", lambda value, limit: value < limit),
        (b"BRANCH_LEQ", lambda value, limit: value <= limit),
        (b"BRANCH_GTE", lambda value, limit: value < limit),
        (b"BRANCH_GT", lambda value, limit: value <= limit),
    ],
)
def test_every_comparison_of_numbers(mode: bytes, smaller_is_left: Callable[[float, float], bool]) -> None:
    before = read_onnx_trees((DATA / "xgboost.onnx").read_bytes()).trees[0]
    tree = read_onnx_trees(changed(lambda graph: set_mode(graph, mode))).trees[0]
    limit = np.float32(np.nextafter(before.boundary[0], np.inf))  # XGBoost's file compares by <
    for value in (np.nextafter(limit, np.float32(-np.inf)), limit, np.nextafter(limit, np.float32(np.inf))):
        assert goes_left(tree, float(value)) == smaller_is_left(float(value), float(limit))
    turned = mode in {b"BRANCH_GTE", b"BRANCH_GT"}
    assert (tree.left[0], tree.right[0]) == (
        (before.right[0], before.left[0]) if turned else (before.left[0], before.right[0])
    )


@pytest.mark.parametrize("form", ["dicts", "array"])
def test_onnx_runtime_predicts_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """ONNX Runtime is no dependency; a stand-in has its interface. Predictions are its second output."""
    arrays = convert(read_onnx_trees((DATA / "xgboost.onnx").read_bytes()), NAMES).arrays

    def run(_: object, feed: dict[str, Any]) -> list[Any]:
        (rows,) = feed.values()
        assert rows.dtype == np.float32
        chances = np.linspace(0.0, 1.0, len(rows), dtype=np.float32)
        return [
            None,
            [{0: 1 - one, 1: one} for one in chances] if form == "dicts" else np.stack([1 - chances, chances], 1),
        ]

    session = SimpleNamespace(run=run, get_inputs=lambda: [SimpleNamespace(name="inputs")])
    module = SimpleNamespace(InferenceSession=lambda _: session, __version__="1.0")
    monkeypatch.setattr("ml.importing.parity.importlib.import_module", {"onnxruntime": module}.__getitem__)
    expected = ask_library("onnx", DATA / "xgboost.onnx", NAMES, arrays)
    assert expected is not None
    assert (expected.source, expected.predictions[0], expected.predictions[-1]) == ("onnxruntime 1.0", 0.0, 1.0)
