"""Fits the curve from the blended score to the probability of fraud on the validation rows of a model (docs/adr/0041).

Isotonic regression (Barlow et al., 1972; scikit-learn) gives blocks of rows with one fraud rate each. Neighbours whose
rates do not differ significantly are joined, so that the curve has few points and does not follow chance. Labels count
with the targets of Platt (1999), so that no probability is exactly 0 or 1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sklearn.isotonic import isotonic_regression

from flink_jobs.core.models.chosen_calibration import ChosenCalibration
from flink_jobs.core.scoring import blend_in_force
from ml.blending import LIST_RULE, blended
from ml.dataset import FRAUD, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset

SIGNIFICANT: Final = 1.92
"""Loss of log-likelihood from which two rates differ: half of the 95 % quantile of chi-squared with one degree."""
MAX_BLOCKS: Final = 20
"""Each block gives at most two points."""


class Block(NamedTuple):
    """Rows with neighbouring scores and one fraud rate."""

    first: float
    """Lowest score."""
    last: float
    """Highest score."""
    rows: float
    frauds: float
    """Sum of the targets."""


def fit_calibration(check: Dataset, scores: NDArray[np.float64], alpha: float) -> ChosenCalibration:
    """Return the calibration of the blend of a model on validation rows.

    Args:
        check: rows with labelled frauds and labelled genuine rows.
        scores: the model's score of each row; the model was not trained on these rows.
        alpha: weight of the model in the blend.
    """
    known = check.labels != UNKNOWN
    fraud = check.labels[known] == FRAUD
    blend = blended(scores[known], check.rule_score[known], alpha)
    points = [
        (score, block.frauds / block.rows)
        for block in joined(blocks_of(blend, fraud))
        for score in sorted({block.first, block.last})
    ]
    return ChosenCalibration(
        alpha,
        tuple(score for score, _ in points),
        tuple(probability for _, probability in points),
        float(known.sum()),
        float(fraud.sum()),
    )


def blocks_of(scores: NDArray[np.float64], fraud: NDArray[np.bool_]) -> list[Block]:
    """Return the blocks of isotonic regression by rising score and rising rate."""
    frauds, genuine = float(fraud.sum()), float((~fraud).sum())
    targets = np.where(fraud, (frauds + 1.0) / (frauds + 2.0), 1.0 / (genuine + 2.0))
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=targets)
    rates = isotonic_regression(sums / counts, sample_weight=counts)
    starts = np.flatnonzero(np.concatenate(([True], rates[1:] != rates[:-1])))
    ends = np.append(starts[1:], len(values)) - 1
    rows, totals = np.add.reduceat(counts, starts), np.add.reduceat(sums, starts)
    return [Block(*map(float, numbers)) for numbers in zip(values[starts], values[ends], rows, totals, strict=True)]


def joined(blocks: list[Block]) -> list[Block]:
    """Join neighbours, the most similar first, while their rates do not differ or there are too many blocks."""
    blocks = list(blocks)
    while len(blocks) > 1:
        losses = [_loss(one, two) for one, two in pairwise(blocks)]
        place = int(np.argmin(losses))
        if losses[place] >= SIGNIFICANT and len(blocks) <= MAX_BLOCKS:
            break
        one, two = blocks[place : place + 2]
        blocks[place : place + 2] = [Block(one.first, two.last, one.rows + two.rows, one.frauds + two.frauds)]
    return blocks


def probabilities(
    rows: Dataset, blend: NDArray[np.float64], model: TreeModel, config: DetectionConfig
) -> NDArray[np.float64] | None:
    """Return the probability of fraud of every row, as the job writes it; NaN for a row without one.

    Args:
        rows: the rows.
        blend: their blended scores under ``config``, see ``blend_rows``.
        model: the model of the blend.
        config: the configuration in force.

    Returns:
        ``None`` for a model whose calibration does not fit the ``alpha`` in force, or that has none.
    """
    calibration, in_force = model.manifest.calibration, blend_in_force(config, model.own_blend)
    if calibration is None or calibration.alpha != in_force.alpha:
        return None
    found = np.interp(blend, calibration.scores, calibration.probabilities)
    if 1.0 - in_force.alpha < in_force.threshold and not config.alpha_is_set:  # then a list lowers the weight
        found[rows.rule_hits[:, LIST_RULE]] = np.nan
    return found


def _loss(one: Block, two: Block) -> float:
    """Return the log-likelihood that is lost if two blocks have one rate."""
    together = Block(one.first, two.last, one.rows + two.rows, one.frauds + two.frauds)
    return _likelihood(one) + _likelihood(two) - _likelihood(together)


def _likelihood(block: Block) -> float:
    rate = block.frauds / block.rows
    return float(block.frauds * np.log(rate) + (block.rows - block.frauds) * np.log1p(-rate))
