"""Trains an isolation forest on the earlier part of a data set and measures it on the later part.

Liu, Ting and Zhou, "Isolation Forest", ICDM 2008. Unsupervised: labels, where there are any, only measure.
The same rows and the same parameters give the same arrays, byte for byte.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from flink_jobs.core.features import FEATURE_NAMES, FEATURES
from flink_jobs.core.forest_scorer import compile_score
from flink_jobs.core.model_artifact import ModelArrays
from flink_jobs.core.model_manifest import ModelManifest, TrainingData, feature_hash
from flink_jobs.errors import UserError
from ml.dataset import FRAUD, UNKNOWN, split_by_time
from ml.isolation_forest import export_forest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters

MIN_TRAINING_ROWS: Final = 2
PARITY_ROWS: Final = 2_000
PARITY_TOLERANCE: Final = 1e-12
QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
TOP_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the training code cannot know: where the rows came from, and the caller's clock and version."""

    source: str
    source_sha256: str | None
    code_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A forest and everything known about it, not yet published."""

    manifest: ModelManifest
    arrays: ModelArrays


def train_forest(
    dataset: Dataset, parameters: TrainingParameters, provenance: Provenance, version: str | None = None
) -> TrainedModel:
    """Train, export, prove the export against scikit-learn, and measure.

    Args:
        dataset: rows in the order of the stream.
        parameters: see there.
        provenance: see there.
        version: name to give; by default the day of the last training row and the start of the arrays' digest,
            so that the same training gives the same name.

    Raises:
        UserError: too few rows.
        ModelError: the forest breaks a cap of the serving side.
        ArithmeticError: the exported forest does not reproduce scikit-learn's scores; a bug here or a new scikit-learn.
    """
    if len(dataset) < MIN_TRAINING_ROWS:
        what = f"{len(dataset)} usable rows in {provenance.source} ({dataset.rejected} were rejected)"
        raise UserError(what, "give a file with more transactions, or correct its mapping")
    early, late = split_by_time(dataset, parameters.train_fraction)
    forest = IsolationForest(
        n_estimators=parameters.n_estimators,
        max_samples=min(parameters.max_samples, len(early)),
        max_features=parameters.max_features,
        bootstrap=parameters.bootstrap,
        random_state=parameters.seed,
    ).fit(early.inputs)
    arrays = ModelArrays(export_forest(forest))
    score = compile_score(arrays.trees, len(FEATURE_NAMES))
    measured = late if len(late) else early
    scores = np.array([score(row) for row in map(tuple, measured.inputs.tolist())])
    _check_parity(forest, measured.inputs[:PARITY_ROWS], scores[:PARITY_ROWS])

    digest = arrays.digest()
    last_ms = int(early.event_time_ms.max())
    day = datetime.fromtimestamp(last_ms / 1000, UTC).strftime("%Y%m%d")
    manifest = ModelManifest(
        version=version or f"{day}-{digest[:10]}",
        created_at=provenance.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        feature_names=FEATURE_NAMES,
        feature_hash=feature_hash(FEATURE_NAMES),
        arrays_sha256=digest,
        training_data=TrainingData(
            source=provenance.source,
            source_sha256=provenance.source_sha256,
            features_sha256=early.digest(),
            rows=len(early),
            first_event_time_ms=int(early.event_time_ms.min()),
            last_event_time_ms=last_ms,
        ),
        parameters=asdict(parameters),
        metrics=measure(scores, late.labels) if len(late) else {},
        score_quantiles=_quantiles(scores),
        feature_quantiles={name: _quantiles(measured.inputs[:, column]) for column, name in enumerate(FEATURE_NAMES)},
        neutral_values={spec.name: spec.neutral for spec in FEATURES},
        code_version=provenance.code_version,
    )
    return TrainedModel(manifest, arrays)


def measure(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> dict[str, float]:
    """Measure the model alone, without rules.

    Returns:
        `rows`, and where both kinds are labelled: `fraud_rate` (what a coin's average precision would be),
        `roc_auc`, `average_precision`, and `precision_at_top_1_percent` (frauds among the highest scores).
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


def _check_parity(forest: IsolationForest, inputs: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    difference = float(np.abs(scores + forest.score_samples(inputs)).max())
    if not difference <= PARITY_TOLERANCE:
        message = f"the exported forest differs from scikit-learn by {difference:.3g}; it is not published"
        raise ArithmeticError(message)


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {str(level): float(value) for level, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}
