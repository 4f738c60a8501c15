"""Trains a model on the earlier part of a data set and measures it on the later part.

An isolation forest (Liu, Ting and Zhou, ICDM 2008) trains without labels; labels only measure it. Boosted trees
(scikit-learn's histogram boosting, after LightGBM: Ke et al., NIPS 2017) learn from the labels that were known at the
split. The same rows and the same parameters give the same arrays, byte for byte.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flink_jobs.core.features.entity_risk import RISK_NEUTRALS
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.models.artifact import ModelArrays
from flink_jobs.core.models.encodings import ENCODING_NEUTRALS
from flink_jobs.core.models.manifest import ModelManifest, TrainingData, feature_hash
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.models.own_use import used_modules
from flink_jobs.errors import UserError
from ml.blending import validate
from ml.choosing import choose
from ml.dataset import UNKNOWN
from ml.fitting import FITTERS, Fitted
from ml.known_labels import known_at
from ml.measures import measure_model
from ml.model_scores import score_rows
from ml.own_columns import own_names
from ml.splitting import split_by_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.core.models.chosen_calibration import ChosenCalibration
    from flink_jobs.core.models.manifest import ChosenBlend
    from ml.dataset import Dataset
    from ml.evaluation.calibration import Calibration
    from ml.own_columns import OwnColumns
    from ml.parameters import TrainingParameters

MIN_TRAINING_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class Provenance:
    """Facts that the caller provides: source of the rows, code version and time."""

    source: str
    source_sha256: str | None
    code_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model with its manifest, not yet published.

    Attributes:
        manifest: its manifest.
        arrays: its arrays.
        reliability: error of its probability of fraud on the rows that measure it; ``None`` without a calibration.
    """

    manifest: ModelManifest
    arrays: ModelArrays
    reliability: Calibration | None = None


def train_model(
    dataset: Dataset, parameters: TrainingParameters, provenance: Provenance, version: str | None = None
) -> TrainedModel:
    """Train a model, export it, check the export against scikit-learn, and measure the model.

    Args:
        dataset: rows in the order of the stream.
        parameters: see ``TrainingParameters``.
        provenance: see ``Provenance``.
        version: version name; by default the day of the last training row and the start of a digest of arrays and
            blend, so that the same training gives the same name.

    Raises:
        UserError: too few rows, or no labels for a family that needs labels.
        ModelError: the model exceeds a limit of the serving side.
        ArithmeticError: the exported model does not reproduce scikit-learn's scores. The cause is a bug in the export
            or a new version of scikit-learn.
    """
    early, late = training_parts(dataset, parameters, provenance.source)
    fitted = FITTERS[parameters.kind](early, parameters)
    digest = fitted.arrays.digest()
    blend, calibration, choice = choose(validate(early, parameters), parameters)
    last_ms = int(early.event_time_ms.max())
    day = datetime.fromtimestamp(last_ms / 1000, UTC).strftime("%Y%m%d")
    draft = ModelManifest(
        version=version or f"{day}-{_name(digest, blend, calibration)}",
        created_at=provenance.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        feature_names=fitted.names,
        feature_hash=feature_hash(fitted.names),
        arrays_sha256=digest,
        training_data=_training_data(early, fitted, provenance),
        parameters=parameters.relevant(),
        metrics={},
        score_quantiles={},
        feature_quantiles={},
        neutral_values=neutral_values(fitted.names, early.own),
        code_version=provenance.code_version,
        kind=fitted.arrays.trees.KIND,
        blend=blend,
        calibration=calibration,
        threshold_choice=choice,
        own_features=used_modules(None if early.own is None else early.own.features, fitted.names),
    )
    measured = late if len(late) else early
    model = build_model(draft, fitted.arrays, (*OFFLINE_FEATURES, *own_names(early.own)))
    scores = score_rows(model, measured)
    fitted.check_parity(measured, scores)
    extras = fitted.arrays.extras
    measures = measure_model(measured, scores, fitted.names, extras, parameters, blend, calibration=calibration)
    manifest = replace(
        draft,
        metrics=measures.metrics if len(late) else {},
        score_quantiles=measures.score_quantiles,
        feature_quantiles=measures.input_quantiles,
        budget=measures.budget,
        reference=measures.reference,
    )
    return TrainedModel(manifest, fitted.arrays, measures.reliability if len(late) else None)


def _name(digest: str, chosen: ChosenBlend | None, calibration: ChosenCalibration | None) -> str:
    """Return the second part of a version's name; it depends on arrays, blend and calibration."""
    if chosen is None:
        return digest[:10]
    points = "" if calibration is None else f" {calibration.scores!r} {calibration.probabilities!r}"
    return hashlib.sha256(f"{digest} {chosen.alpha!r} {chosen.threshold!r}{points}".encode()).hexdigest()[:10]


def training_parts(dataset: Dataset, parameters: TrainingParameters, source: str) -> tuple[Dataset, Dataset]:
    """Return the earlier part for training, with the labels known at the split, and the later part for measuring.

    Raises:
        UserError: too few rows.
    """
    if len(dataset) < MIN_TRAINING_ROWS:
        what = f"only {len(dataset)} usable rows in {source} ({dataset.rejected} were rejected)"
        raise UserError(what, "give a file with more transactions, or correct its mapping")
    early, late = split_by_time(dataset, parameters.train_fraction)
    if len(late):
        early = known_at(early, int(late.event_time_ms.min()), parameters.label_delay_days)
    return early, late


def _training_data(early: Dataset, fitted: Fitted, provenance: Provenance) -> TrainingData:
    labelled = int((early.labels != UNKNOWN).sum()) if fitted.learns_labels else 0
    return TrainingData(
        source=provenance.source,
        source_sha256=provenance.source_sha256,
        features_sha256=early.digest(),
        rows=len(early),
        first_event_time_ms=int(early.event_time_ms.min()),
        last_event_time_ms=int(early.event_time_ms.max()),
        labelled_rows=labelled,
        labels_sha256=early.labels_digest() if fitted.learns_labels else None,
    )


def neutral_values(names: Sequence[str], own: OwnColumns | None) -> dict[str, float]:
    """Return the neutral value of each input."""
    known = _NEUTRALS | {spec.name: spec.neutral for spec in (() if own is None else own.specs)}
    return {name: known[name] for name in names}


_NEUTRALS: Final = dict(zip(FEATURE_NAMES, NEUTRAL_VALUES, strict=True)) | ENCODING_NEUTRALS | RISK_NEUTRALS
