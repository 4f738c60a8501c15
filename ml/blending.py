"""Chooses the blend of a model: the weight ``alpha`` of its score, and the alert threshold that fits this weight.

Both are chosen on validation rows: the last rows of the training part, scored by a model that was trained on the rows
before them. The rows that measure the model take no part. ``alpha`` maximises the average precision of the blended
score. The threshold then gives as many alerts on the validation rows as the default blend, so a better ranking does not
change the work of the analysts; with an alert budget, it gives the budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score

from flink_jobs.core.control.config import DEFAULT_ALERT_THRESHOLD, DEFAULT_ALPHA
from flink_jobs.core.models.families import compile_model
from flink_jobs.core.models.manifest import ChosenBlend
from flink_jobs.core.rules import RULES
from flink_jobs.core.scoring import weight_beside_list
from flink_jobs.errors import UserError
from ml.dataset import FRAUD, UNKNOWN
from ml.fitting import FITTERS
from ml.known_labels import known_at
from ml.model_scores import apply_rows, input_rows
from ml.splitting import split_by_time
from ml.threshold_table import cheapest_threshold
from ml.thresholds import threshold_for, threshold_of_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.scoring import OwnBlend
    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters

VALIDATION_FRACTION: Final = 0.7
"""Share of the training part that trains for a choice; the rest validates."""
GRID: Final = tuple(number / 20 for number in range(1, 20))
"""The weights that are compared: 0.05 to 0.95. At 0 the model has no effect; at 1 the rules have none."""
TIE: Final = 1e-9
"""Average precisions that differ by less are equal; the weight nearest to the default is then chosen."""
MIN_FRAUDS: Final = 30
"""Smallest number of labelled frauds in the validation rows: with fewer, average precision depends on single rows."""
MIN_ALERTS: Final = 10
"""Smallest number of alerts of the default blend on the validation rows: with fewer, no threshold gives as many."""
LIST_RULE: Final = next(place for place, rule in enumerate(RULES) if rule.id == "blacklist")
"""Column of the lists in ``Dataset.rule_hits``."""


class Validated(NamedTuple):
    """Validation rows, and the scores of a model that was trained on the rows before them."""

    rows: Dataset
    scores: NDArray[np.float64]


def validate(early: Dataset, parameters: TrainingParameters) -> Validated | None:
    """Return the validation rows for a model that is trained on ``early``.

    Args:
        early: the training part, with the labels known at its end.
        parameters: parameters of the training.

    Returns:
        The rows and their scores, or ``None`` if too few labels are known to choose anything.
    """
    fit, check = split_by_time(early, VALIDATION_FRACTION)
    frauds = int((check.labels == FRAUD).sum())
    known = check.labels != UNKNOWN
    if frauds < MIN_FRAUDS or frauds == known.sum():
        return None
    fit = known_at(fit, int(check.event_time_ms.min()), parameters.label_delay_days)
    try:
        fitted = FITTERS[parameters.kind](fit, parameters)
    except UserError:  # the earlier rows have no labels to train on
        return None
    score = compile_model(fitted.arrays.trees, fitted.arrays.extras, len(fitted.names)).score
    return Validated(check, apply_rows(score, input_rows(fitted.names, fitted.arrays.extras, check)))


def best_blend(check: Dataset, scores: NDArray[np.float64], parameters: TrainingParameters) -> ChosenBlend | None:
    """Return the best blend on validation rows; ``None`` with fewer than ``MIN_ALERTS`` alerts of the default blend.

    Args:
        check: rows with labelled frauds and labelled genuine rows.
        scores: the model's score of each row; the model was not trained on these rows.
        parameters: ``alerts_per_day`` is the alert budget, ``review_cost`` the price of a review.

    Raises:
        UserError: a price of a review, and rows with several currencies.
    """
    known = check.labels != UNKNOWN
    fraud = check.labels[known] == FRAUD

    def precision(alpha: float) -> float:
        return float(average_precision_score(fraud, blended(scores[known], check.rule_score[known], alpha)))

    reached = {alpha: precision(alpha) for alpha in GRID}
    most = max(reached.values())
    best = [alpha for alpha, value in reached.items() if value >= most - TIE]
    alpha = min(best, key=lambda one: abs(one - DEFAULT_ALPHA))
    blend = blended(scores, check.rule_score, alpha)
    if parameters.review_cost is not None:
        threshold = cheapest_threshold(check, blend, parameters)
    elif parameters.alerts_per_day is not None:
        threshold = threshold_for(blend, check.event_time_ms, parameters.alerts_per_day)
    else:
        usual = int((blended(scores, check.rule_score, DEFAULT_ALPHA) >= DEFAULT_ALERT_THRESHOLD).sum())
        if usual < MIN_ALERTS:
            return None
        threshold = DEFAULT_ALERT_THRESHOLD if alpha == DEFAULT_ALPHA else threshold_of_count(blend, usual)
    return ChosenBlend(alpha, threshold, reached[alpha], reached[DEFAULT_ALPHA], float(known.sum()), float(fraud.sum()))


def blended(
    ml_score: NDArray[np.float64], rule_score: NDArray[np.float64], alpha: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the blended score of all rows, as ``core.scoring.blend`` computes it for one."""
    return alpha * ml_score + (1.0 - alpha) * rule_score


def blend_rows(
    rows: Dataset, ml_score: NDArray[np.float64], config: DetectionConfig, own: OwnBlend | None
) -> tuple[NDArray[np.float64], float]:
    """Return the blended score of all rows and the alert threshold, as ``core.scoring.Blender`` does for one row."""
    if own is None or config.alpha_is_set:
        return blended(ml_score, rows.rule_score, config.alpha), config.alert_threshold
    threshold = config.alert_threshold if config.threshold_is_set else own.threshold
    if 1.0 - own.alpha >= threshold:
        return blended(ml_score, rows.rule_score, own.alpha), threshold
    alpha = np.where(rows.rule_hits[:, LIST_RULE], weight_beside_list(threshold), own.alpha)
    return blended(ml_score, rows.rule_score, alpha), threshold
