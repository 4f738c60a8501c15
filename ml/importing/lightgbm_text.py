"""Reads a model that LightGBM saved as text (``Booster.save_model``).

A split compares doubles: an input ``<= threshold`` goes left. Leaf values already hold the learning rate and the mean
of the labels. The flags of a split (``decision_type``) are: bit 0 a categorical split, bit 1 the direction of missing
values, bits 2 and 3 what is missing (0 nothing, 1 zero, 2 NaN).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.errors import UserError
from ml.importing.foreign_trees import RETRAIN, ForeignModel, ForeignTree

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE: Final = 1e-10
"""LightGBM adds doubles in the order of the trees; the detector adds exactly."""
_CATEGORICAL: Final = 1
_ZERO, _NAN = 1, 2
_SCALED: Final = re.compile(r"binary sigmoid:([0-9.eE+-]+)")


def read_lightgbm(content: bytes) -> ForeignModel:
    """Return the model of a text file.

    Raises:
        UserError: the file is no such model, or the model needs something that the detector does not compute.
    """
    try:
        head, *blocks = re.split(r"^Tree=\d+\s*$", content.decode().partition("end of trees")[0], flags=re.MULTILINE)
        header = _fields(head)
        names = tuple(header["feature_names"].split())  # no other text file has this line
        scale = _scale(header)
        trees = tuple(_tree(_fields(block), scale, names) for block in blocks)
    except (ValueError, KeyError, IndexError) as error:
        what = f"the file is not a model that LightGBM saved as text ({error})"
        raise UserError(what, "save it with Booster.save_model('model.txt')") from None
    return ForeignModel("lightgbm", header.get("version", "unknown"), names, trees, 0.0, TOLERANCE)


def _fields(block: str) -> dict[str, str]:
    parts = (line.partition("=") for line in block.splitlines() if line.strip())
    return {name: value for name, _, value in parts}


def _scale(header: Mapping[str, str]) -> float:
    """Return the factor between the sum of the leaves and log-odds."""
    objective = header.get("objective", "none")
    scaled = _SCALED.fullmatch(objective)
    if scaled is None and objective != "cross_entropy":
        raise UserError(f"the objective of the model is {objective!r}, not a probability of fraud", "use `binary`")
    if header["num_class"] != "1" or header["num_tree_per_iteration"] != "1":
        raise UserError("the model has more than two classes", "train it on fraud and genuine rows only")
    if "average_output" in header:
        raise UserError("the model averages its trees (boosting=rf)", "train it with boosting=gbdt")
    return float(scaled.group(1)) if scaled else 1.0


def _tree(fields: Mapping[str, str], scale: float, names: tuple[str, ...]) -> ForeignTree:
    """Return one tree. The file numbers splits and leaves apart; here the leaves follow the splits."""
    if fields.get("is_linear", "0") != "0":
        raise UserError("the model has linear functions in its leaves (linear_tree)", RETRAIN)
    leaves = int(fields["num_leaves"])
    splits = leaves - 1

    def numbers(name: str, count: int, kind: Callable[[str], float]) -> list[float]:
        values = [kind(value) for value in fields.get(name, "").split()]
        if len(values) != count:
            raise ValueError(f"{name} has {len(values)} values, not {count}")
        return values

    values = [value * scale for value in numbers("leaf_value", leaves, float)]
    if not splits:
        return ForeignTree([LEAF], [0.0], [LEAF], [LEAF], [1], values)
    feature = [int(value) for value in numbers("split_feature", splits, int)]
    for flags, place in zip(numbers("decision_type", splits, int), feature, strict=True):
        _check_split(int(flags), names[place])
    links = [
        [splits - 1 - int(child) if child < 0 else int(child) for child in numbers(name, splits, int)]
        for name in ("left_child", "right_child")
    ]
    counts = [max(1, int(count)) for count in numbers("leaf_count", leaves, int)]
    none = [LEAF] * leaves
    return ForeignTree(
        feature=feature + none,
        boundary=[*numbers("threshold", splits, float), *([0.0] * leaves)],
        left=links[0] + none,
        right=links[1] + none,
        weight=[0] * splits + counts,
        value=[0.0] * splits + values,
    )


def _check_split(flags: int, name: str) -> None:
    missing = flags >> 2 & 3
    if flags & _CATEGORICAL:
        raise UserError(f"the model splits {name} by categories", "give the column as a number, not as a category")
    if missing == _ZERO:
        raise UserError(f"the model takes 0 in {name} for missing (zero_as_missing)", RETRAIN)
    if missing == _NAN:
        what = f"the model was trained on rows in which {name} is missing"
        raise UserError(what, "replace absent features by their neutral values before training (docs/rules.md)")
