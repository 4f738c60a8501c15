"""Everything that is chosen for a model on its validation rows: blend, calibration, and why this threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ml.blending import MIN_FRAUDS, best_blend, blended
from ml.calibrating import fit_calibration
from ml.threshold_table import threshold_choice

if TYPE_CHECKING:
    from flink_jobs.core.models.chosen_calibration import ChosenCalibration
    from flink_jobs.core.models.manifest import ChosenBlend
    from flink_jobs.core.models.threshold_choice import ThresholdChoice
    from ml.blending import Validated
    from ml.parameters import TrainingParameters


class Chosen(NamedTuple):
    """The manifest fields of the same names; each ``None`` if too few labels are known to choose it."""

    blend: ChosenBlend | None = None
    calibration: ChosenCalibration | None = None
    threshold_choice: ThresholdChoice | None = None


def choose(validated: Validated | None, parameters: TrainingParameters) -> Chosen:
    """Return what is chosen on validation rows with labelled frauds and labelled genuine rows.

    Raises:
        UserError: a price of a review, and rows with several currencies.
    """
    if validated is None:
        return Chosen()
    rows, scores = validated
    blend = best_blend(rows, scores, parameters)
    if blend is None:
        return Chosen()
    choice = threshold_choice(rows, blended(scores, rows.rule_score, blend.alpha), blend.threshold, parameters)
    has_frauds = blend.frauds >= MIN_FRAUDS
    return Chosen(blend, fit_calibration(rows, scores, blend.alpha) if has_frauds else None, choice)
