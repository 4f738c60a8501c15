"""Reads a model that XGBoost saved as JSON (``Booster.save_model("model.json")``).

A split rounds its input to float32 and compares: an input ``< threshold`` goes left. The detector compares doubles
with ``<=``, so each threshold becomes the largest double that goes left. ``base_score`` is a probability. XGBoost
weighs rows by hessians; the shares of the hessians weigh the explanation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.errors import UserError
from ml.importing.float32 import below
from ml.importing.foreign_trees import RETRAIN, ForeignModel, ForeignTree

TOLERANCE: Final = 2e-6
"""XGBoost adds float32 numbers in the order of the trees; the detector adds exactly."""
OBJECTIVES: Final = ("binary:logistic", "reg:logistic")
ROOT_WEIGHT: Final = 1_000_000
"""The weight of a root, in place of its number of training rows, which the file does not hold."""


def read_xgboost(content: bytes) -> ForeignModel:
    """Return the model of a JSON file.

    Raises:
        UserError: the file is no such model, or the model needs something that the detector does not compute.
    """
    try:
        document = orjson.loads(content)
        learner = document["learner"]
        booster = learner["gradient_booster"]
        _check_learner(learner, booster)
        trees = tuple(_tree(tree) for tree in booster["model"]["trees"])
        base = _log_odds(float(np.float32(str(learner["learner_model_param"]["base_score"]).strip("[]"))))
        version = ".".join(map(str, document["version"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"the file is not a model that XGBoost saved as JSON ({error})"
        raise UserError(what, "save it with Booster.save_model('model.json')") from None
    return ForeignModel("xgboost", version, tuple(learner.get("feature_names", ())), trees, base, TOLERANCE)


def _check_learner(learner: Mapping[str, Any], booster: Mapping[str, Any]) -> None:
    objective, kind = learner["objective"]["name"], booster["name"]
    if objective not in OBJECTIVES:
        raise UserError(
            f"the objective of the model is {objective!r}, not a probability of fraud", f"use {OBJECTIVES[0]}"
        )
    if kind != "gbtree":
        raise UserError(f"the model is of the kind {kind!r}", "train it with booster=gbtree")
    parameters = learner["learner_model_param"]
    if int(parameters.get("num_class", 0)) > 1 or int(parameters.get("num_target", 1)) > 1:
        raise UserError("the model has more than two classes", "train it on fraud and genuine rows only")
    best = learner.get("attributes", {}).get("best_iteration")
    rounds = len(booster["model"].get("iteration_indptr", ())) - 1
    if best is not None and int(best) + 1 < rounds:
        what = f"the model was stopped early: {int(best) + 1} of its {rounds} rounds are the best"
        raise UserError(what, "save only these rounds: booster[: booster.best_iteration + 1].save_model(...)")


def _tree(tree: Mapping[str, Any]) -> ForeignTree:
    left, right = tree["left_children"], tree["right_children"]
    if any(tree.get("split_type", ())):
        raise UserError("the model splits an input by categories", "give the column as a number, not as a category")
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise UserError("the model has several outputs in one tree (multi_strategy)", RETRAIN)
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    hessian = np.array(tree["sum_hessian"], dtype=np.float64)
    weight = np.maximum(1, np.rint(hessian * (ROOT_WEIGHT / max(hessian[0], 1e-300)))).astype(np.int64)
    inner = [child != LEAF for child in left]
    return ForeignTree(
        feature=[place if split else LEAF for place, split in zip(tree["split_indices"], inner, strict=True)],
        boundary=below(condition).tolist(),
        left=left,
        right=right,
        weight=weight.tolist(),
        value=condition.astype(np.float64).tolist(),
    )


def _log_odds(probability: float) -> float:
    if not 0.0 < probability < 1.0:
        raise UserError(f"base_score of the model is {probability:g}, not between 0 and 1", "train it again")
    return math.log(probability / (1.0 - probability))
