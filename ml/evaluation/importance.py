"""Which inputs a model needs: the average precision that it loses when one input is shuffled.

Breiman, "Random Forests" (Machine Learning, 2001). Two inputs with the same information replace each other, so both
show a small loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.metrics import average_precision_score

from ml.dataset import FRAUD, GENUINE
from ml.model_scores import apply_rows, input_rows

if TYPE_CHECKING:
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset

MOST_FRAUDS: Final = 300
MOST_GENUINE: Final = 1_200


@dataclass(frozen=True, slots=True)
class InputImportance:
    """An input, and the average precision of the model alone that is lost when this input is shuffled."""

    name: str
    loss: float


def input_importance(model: TreeModel, rows: Dataset, seed: int) -> tuple[InputImportance, ...]:
    """Return the inputs of a model by falling importance; empty without labelled frauds and genuine rows.

    It is measured on a random sample of at most 300 frauds and 1,200 genuine rows, so its average precision is not that
    of the evaluation.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for label, most in ((FRAUD, MOST_FRAUDS), (GENUINE, MOST_GENUINE)):
        places = np.flatnonzero(rows.labels == label)
        if not len(places):
            return ()
        chosen.append(rng.choice(places, min(most, len(places)), replace=False))
    sample = rows.where(np.isin(np.arange(len(rows)), np.concatenate(chosen)))
    names, fraud = model.manifest.feature_names, sample.labels == FRAUD
    inputs = input_rows(names, model.extras, sample)
    whole = average_precision_score(fraud, apply_rows(model.score_row, inputs))
    found = []
    for column, name in enumerate(names):
        shuffled = inputs.copy()
        shuffled[:, column] = rng.permutation(shuffled[:, column])
        loss = whole - average_precision_score(fraud, apply_rows(model.score_row, shuffled))
        found.append(InputImportance(name, float(loss)))
    return tuple(sorted(found, key=lambda one: -one.loss))
