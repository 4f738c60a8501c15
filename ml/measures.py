"""Measures a model for its manifest: ranking, alerts, and the distributions of its inputs and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from flink_jobs.core.control.config import DEFAULT_ALPHA, DetectionConfig
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.manifest import AlertBudget
from flink_jobs.core.models.reference import SCORE, Reference
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.core.scoring import OwnBlend
from ml.blending import blend_rows
from ml.dataset import FRAUD, UNKNOWN
from ml.drift.binning import take_reference
from ml.evaluation.calibration import calibrate
from ml.model_scores import input_rows
from ml.thresholds import threshold_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.chosen_calibration import ChosenCalibration
    from flink_jobs.core.models.manifest import ChosenBlend
    from flink_jobs.core.models.trees.arrays import Arrays
    from ml.dataset import Dataset
    from ml.evaluation.calibration import Calibration
    from ml.parameters import TrainingParameters

QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
TOP_SHARE: Final = 0.01


class Measures(NamedTuple):
    """The manifest fields of the same names, and the error of the probability, measured on the later part."""

    metrics: dict[str, float]
    score_quantiles: dict[str, float]
    input_quantiles: dict[str, dict[str, float]]
    budget: AlertBudget | None
    reference: Reference
    reliability: Calibration | None = None
    """``None`` without a calibration or labelled rows."""


def measure_model(
    rows: Dataset,
    scores: NDArray[np.float64],
    names: tuple[str, ...],
    extras: Arrays,
    parameters: TrainingParameters,
    chosen: ChosenBlend | None = None,
    *,
    calibration: ChosenCalibration | None = None,
) -> Measures:
    """Measure a model, alone and blended with the rules.

    Args:
        rows: at least one row.
        scores: the model's score of each row.
        names: the model's inputs.
        extras: the model's optional arrays.
        parameters: training parameters; ``alerts_per_day`` is the alert budget.
        chosen: the blend of the model, whose threshold keeps the budget; ``None``: the default blend, and the threshold
            for the budget is chosen on ``rows``.
        calibration: the calibration of the blend.
    """
    own = None if chosen is None else OwnBlend(chosen.alpha, chosen.threshold)
    blend, threshold = blend_rows(rows, scores, DetectionConfig(), own)
    budget = None
    if parameters.alerts_per_day is not None:
        if own is None:
            threshold = threshold_for(blend, rows.event_time_ms, parameters.alerts_per_day)
        budget = AlertBudget(parameters.alerts_per_day, DEFAULT_ALPHA if own is None else own.alpha, threshold)
    inputs = input_rows(names, extras, rows)
    metrics = ranking(scores, rows.labels)
    blended = ranking(blend, rows.labels)
    metrics |= {f"blend_{name}": blended[name] for name in ("roc_auc", "average_precision") if name in blended}
    metrics |= alerting(blend, rows.labels, threshold)
    reliability = None if calibration is None else reliability_of(rows, blend, calibration)
    if reliability is not None:
        metrics |= {
            "probability_brier": reliability.brier.value or 0.0,
            "probability_calibration_error": reliability.expected_calibration_error.value or 0.0,
        }
    bins = {name: take_reference(rows.features[:, place]) for place, name in enumerate(FEATURE_NAMES)}
    if rows.own is not None:
        bins |= {name: take_reference(rows.own.column(name, keep_absent=True)) for name in names if is_own(name)}
    return Measures(
        metrics,
        quantiles(scores),
        {name: quantiles(inputs[:, column]) for column, name in enumerate(names)},
        budget,
        Reference(len(rows), bins | {SCORE: take_reference(scores)}),
        reliability,
    )


def ranking(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> dict[str, float]:
    """Measure how well scores rank frauds.

    Returns:
        ``rows`` and ``labelled_rows``. If the labels hold frauds and genuine transactions, also ``fraud_rate`` (the
        average precision of random scores), ``roc_auc``, ``average_precision`` and ``precision_at_top_1_percent``
        (share of frauds among the highest 1 % of the scores).
    """
    known = labels != UNKNOWN
    metrics = {"rows": float(len(scores)), "labelled_rows": float(known.sum())}
    fraud = labels[known] == FRAUD
    if not fraud.any() or fraud.all():
        return metrics
    ranked = np.argsort(-scores[known], kind="stable")[: max(1, int(fraud.size * TOP_SHARE))]
    return metrics | {
        "fraud_rate": float(fraud.mean()),
        "roc_auc": float(roc_auc_score(fraud, scores[known])),
        "average_precision": float(average_precision_score(fraud, scores[known])),
        "precision_at_top_1_percent": float(fraud[ranked].mean()),
    }


def alerting(blend: NDArray[np.float64], labels: NDArray[np.int8], threshold: float) -> dict[str, float]:
    """Return ``alert_rate`` at a threshold and, where labels allow it, ``alert_precision`` and ``alert_recall``."""
    alert, known, fraud = blend >= threshold, labels != UNKNOWN, labels == FRAUD
    metrics = {"alert_threshold": float(threshold), "alert_rate": float(alert.mean())}
    if (alert & known).any():
        metrics["alert_precision"] = float(fraud[alert & known].mean())
    if fraud.any():
        metrics["alert_recall"] = float(alert[fraud].mean())
    return metrics


def reliability_of(rows: Dataset, blend: NDArray[np.float64], calibration: ChosenCalibration) -> Calibration | None:
    """Return the error of the probability of fraud on labelled rows, without intervals; ``None`` without such rows."""
    known = rows.labels != UNKNOWN
    if not known.any():
        return None
    probability = np.interp(blend[known], calibration.scores, calibration.probabilities)
    everyone = np.zeros(int(known.sum()), dtype=np.int64)
    return calibrate(probability, rows.labels[known] == FRAUD, everyone, np.ones((1, 1)))


def quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the quantiles for a manifest, by level."""
    return {str(level): float(value) for level, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}
