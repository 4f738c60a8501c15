"""Reads boosted trees in an ONNX file: its node ``TreeEnsembleClassifier`` with the logistic function.

skl2onnx and onnxmltools write such files for models of scikit-learn, LightGBM and XGBoost. The attributes are described
in the page of the operator in the documentation of ONNX (``ai.onnx.ml``, versions 1 and 3). The input of the graph is
float32, so each input is rounded to float32 and compared with a float32 value; each threshold becomes the largest
double that goes left. The file has no row counts: all leaves of a tree weigh the same in the explanation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.core.models.trees.linked_trees import float32_boundary
from flink_jobs.errors import UserError
from ml.importing.float32 import below
from ml.importing.foreign_trees import ForeignModel, ForeignTree
from ml.importing.onnx_message import parse_onnx

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE: Final = 2e-6
"""ONNX Runtime adds float32 numbers; the detector adds exactly."""
FLOAT: Final = 1
"""``TensorProto.DataType.FLOAT``."""
UNCHANGING: Final = ("Cast", "Identity")
"""Nodes that may stand between the input of the graph and the trees."""
LOGISTIC: Final = b"LOGISTIC"
_EQUAL_IS_LARGER: Final = {b"BRANCH_LEQ": False, b"BRANCH_LT": True, b"BRANCH_GTE": True, b"BRANCH_GT": False}
"""Modes of a split; true: an input equal to the value goes to the side of the larger ones."""
_TURNED: Final = (b"BRANCH_GTE", b"BRANCH_GT")
"""Modes whose true branch is the side of the larger inputs."""
CONVERT_AGAIN: Final = "convert the trees alone, with one float32 input: ('inputs', FloatTensorType([None, COLUMNS]))"


def read_onnx_trees(content: bytes) -> ForeignModel:
    """Return the model of an ONNX file.

    Raises:
        UserError: the file is no such model, or the model needs something that the detector does not compute.
    """
    try:
        model = parse_onnx(content)
        node = _ensemble(model.graph)
        attributes = {attribute.name: attribute for attribute in node.attribute}
        _check_classes(attributes)
        trees = _trees(attributes)
        base = sum(attributes["base_values"].floats) if "base_values" in attributes else 0.0
    except (ValueError, KeyError, IndexError) as error:
        what = f"the file is not a model of boosted trees in ONNX ({error})"
        raise UserError(what, "write it with skl2onnx or onnxmltools") from None
    writer = f"{model.producer_name} {model.producer_version}".strip() or "unknown"
    return ForeignModel("onnx", writer, (), trees, base, TOLERANCE)


def _ensemble(graph: Any) -> Any:  # noqa: ANN401 - protobuf makes the classes when the program runs
    """Return the only node with trees, after checking that it reads the input of the graph unchanged."""
    found = [node for node in graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(found) != 1:
        kinds = ", ".join(sorted({node.op_type for node in graph.node}))
        raise UserError(f"the model has {len(found)} nodes of trees, not one; its nodes are {kinds}", CONVERT_AGAIN)
    if found[0].op_type != "TreeEnsembleClassifier":
        what = f"the trees of the model are a {found[0].op_type}, not a TreeEnsembleClassifier"
        raise UserError(what, "convert a classifier of fraud and genuine rows, for ai.onnx.ml version 3 or lower")
    if len(graph.input) != 1:
        raise UserError(f"the model has {len(graph.input)} inputs, not one table of all columns", CONVERT_AGAIN)
    if graph.input[0].type.tensor_type.elem_type != FLOAT:
        raise UserError("the input of the model is not float32", CONVERT_AGAIN)
    writer_of = {name: node for node in graph.node for name in node.output}
    name = found[0].input[0]
    for _ in graph.node:
        if name == graph.input[0].name:
            return found[0]
        before = writer_of[name]
        if before.op_type not in UNCHANGING:
            what = f"the model changes its inputs before the trees ({before.op_type})"
            raise UserError(what, f"{CONVERT_AGAIN}; trees need no scaling")
        name = before.input[0]
    raise ValueError("the trees do not read the input of the graph")


def _check_classes(attributes: dict[str, Any]) -> None:
    labels = attributes.get("classlabels_int64s"), attributes.get("classlabels_strings")
    count = sum(len(label.ints) + len(label.strings) for label in labels if label is not None)
    if count != 2 or len(set(attributes["class_ids"].ints)) != 1:  # noqa: PLR2004 - fraud and genuine
        what = f"the trees of the model give {max(count, len(set(attributes['class_ids'].ints)))} scores, not one"
        raise UserError(what, "give boosted trees of two classes; a random forest averages probabilities")
    after = attributes["post_transform"].s if "post_transform" in attributes else b"NONE"
    if after != LOGISTIC:
        what = f"the model does not add log-odds (post_transform={after.decode(errors='replace')})"
        raise UserError(what, "give boosted trees with the logistic function")
    wide = [name for name in ("nodes_values_as_tensor", "class_weights_as_tensor") if name in attributes]
    if wide:
        raise UserError(f"the model holds doubles ({wide[0]})", CONVERT_AGAIN)
    if "base_values" in attributes and len(attributes["base_values"].floats) > 1:
        raise UserError("the model has several base values", "give boosted trees of two classes")


def _trees(attributes: dict[str, Any]) -> tuple[ForeignTree, ...]:
    columns = {
        name: list(getattr(attributes[f"nodes_{name}"], kind))
        for name, kind in (
            ("treeids", "ints"),
            ("nodeids", "ints"),
            ("featureids", "ints"),
            ("truenodeids", "ints"),
            ("falsenodeids", "ints"),
            ("values", "floats"),
            ("modes", "strings"),
        )
    }
    leaf_value: dict[tuple[int, int], float] = {}
    leaves = (list(attributes[f"class_{name}"].ints) for name in ("treeids", "nodeids"))
    for tree, node, value in zip(*leaves, attributes["class_weights"].floats, strict=True):
        leaf_value[tree, node] = leaf_value.get((tree, node), 0.0) + value
    rows = list(zip(*columns.values(), strict=True))
    by_tree: dict[int, list[Sequence[Any]]] = {}
    for row in rows:
        by_tree.setdefault(row[0], []).append(row)
    return tuple(_tree(nodes, leaf_value) for nodes in by_tree.values())


def _tree(nodes: Sequence[Sequence[Any]], leaf_value: dict[tuple[int, int], float]) -> ForeignTree:
    """Return one tree; the root is the first node."""
    place = {node[1]: number for number, node in enumerate(nodes)}
    entries: list[tuple[int, float, int, int, int, float]] = []
    for tree_id, node_id, feature, on_true, on_false, value, mode in nodes:
        if mode == b"LEAF":
            entries.append((LEAF, 0.0, LEAF, LEAF, 1, leaf_value.get((tree_id, node_id), 0.0)))
        else:
            left, right = (on_false, on_true) if mode in _TURNED else (on_true, on_false)
            entries.append((feature, _boundary(value, mode), place[left], place[right], 0, 0.0))
    features, boundaries, lefts, rights, weights, values = (list(column) for column in zip(*entries, strict=True))
    return ForeignTree(features, boundaries, lefts, rights, weights, values)


def _boundary(value: float, mode: bytes) -> float:
    """Return the largest double that goes to the side of the smaller inputs."""
    if mode not in _EQUAL_IS_LARGER:
        what = f"the model has splits of the kind {mode.decode(errors='replace')}"
        raise UserError(what, "give the column as a number, not as a category")
    threshold = np.array([value], dtype=np.float32)
    found = below(threshold) if _EQUAL_IS_LARGER[mode] else float32_boundary(threshold.astype(np.float64))
    return float(found[0])
