"""The manifest of a model artifact (``manifest.json``): what the arrays beside it are, and how they were trained."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeVar

import orjson

from flink_jobs.core.models.chosen_calibration import ChosenCalibration, parse_calibration
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.own_use import UsedModule, parse_used
from flink_jobs.core.models.reference import Reference, parse_reference
from flink_jobs.core.models.threshold_choice import ThresholdChoice, parse_threshold_choice
from flink_jobs.core.models.trees.arrays import FAMILIES, ForestArrays

SCHEMA_VERSION: Final = 2
"""Version 2 added boosted trees, encodings as inputs, labels, the alert budget and the reference."""
MANIFEST_FILE: Final = "manifest.json"
ARRAYS_FILE: Final = "model.npz"
CURRENT_FILE: Final = "current"
"""Text file beside the version directories: the version to serve until a control message names another."""

T = TypeVar("T")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_model_version(text: str) -> bool:
    """Return whether ``text`` can name a version: 1 to 64 letters, digits, ``.``, ``_``, ``-``; never a path."""
    return _VERSION.fullmatch(text) is not None and text != CURRENT_FILE


def feature_hash(names: tuple[str, ...]) -> str:
    """Return the SHA-256 (hex) of the feature names in order.

    The digest is taken of a JSON list, which distinguishes ``("a,b",)`` from ``("a", "b")``.
    """
    return hashlib.sha256(orjson.dumps(list(names))).hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data a model was trained on.

    Attributes:
        source: file name without its directory, or another short label.
        source_sha256: digest of the file's bytes; ``None`` when the rows did not come from a file.
        features_sha256: digest of the training rows without their labels.
        rows: number of training rows.
        first_event_time_ms: event time of the first training row, UTC milliseconds.
        last_event_time_ms: event time of the last training row, UTC milliseconds.
        labelled_rows: number of rows whose label was used; 0 for an unsupervised model.
        labels_sha256: digest of the labels that were used; ``None`` when no label was used.
    """

    source: str
    source_sha256: str | None
    features_sha256: str
    rows: int
    first_event_time_ms: int
    last_event_time_ms: int
    labelled_rows: int = 0
    labels_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class AlertBudget:
    """The number of alerts per day that analysts can review, and the threshold that gives this number.

    Attributes:
        alerts_per_day: the budget.
        alpha: weight of the model score in the blended score, 0 to 1.
        threshold: alert threshold on the blended score that gives ``alerts_per_day`` on the evaluation rows.
    """

    alerts_per_day: float
    alpha: float
    threshold: float


@dataclass(frozen=True, slots=True)
class ChosenBlend:
    """The blend chosen for a model on its validation rows: the last rows of the training part (docs/adr/0038).

    Attributes:
        alpha: weight of the model score in the blended score, 0 to 1.
        threshold: alert threshold on the blended score, 0 to 1.
        average_precision: average precision of this blend on the validation rows.
        default_average_precision: average precision of the default ``alpha`` on the same rows.
        rows: labelled validation rows.
        frauds: labelled frauds among them.
    """

    alpha: float
    threshold: float
    average_precision: float
    default_average_precision: float
    rows: float
    frauds: float


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """The description of one model version.

    The evaluation rows are the later part of the data, which was not used for training.

    Attributes:
        version: name of the version and of its directory.
        created_at: time of training, ISO 8601, UTC.
        feature_names: inputs in order: features of the stream, then encodings whose tables are in the artifact.
        feature_hash: ``feature_hash(feature_names)``.
        arrays_sha256: ``arrays_digest`` of the arrays file.
        training_data: the data it was trained on.
        parameters: parameters of the training run, seed included.
        metrics: metric name to its value on the evaluation rows; ROC AUC and average precision only if labels existed.
        score_quantiles: quantile ("0.01" to "0.99") to score on the evaluation rows.
        feature_quantiles: the same for each input.
        neutral_values: for each feature, the value that replaced an absent value in training.
        code_version: version of the program that trained it.
        kind: model family, a key of ``FAMILIES``.
        budget: ``None`` when no alert budget was given.
        reference: distribution of each feature and of the score on the evaluation rows; ``None`` in schema 1.
        blend: the blend that is in force with this model unless a control message set another one; ``None`` for a model
            of an earlier release, and where too few labels were known to choose one.
        threshold_choice: how the threshold of ``blend`` was chosen; ``None`` without an own blend.
        calibration: from the blended score to the probability of fraud; ``None`` without an own blend.
        own_features: the modules of its own features, with their versions; ``None`` without any.
        schema_version: version of this manifest and of the arrays.
    """

    version: str
    created_at: str
    feature_names: tuple[str, ...]
    feature_hash: str
    arrays_sha256: str
    training_data: TrainingData
    parameters: dict[str, int | float | str | bool | None]
    metrics: dict[str, float]
    score_quantiles: dict[str, float]
    feature_quantiles: dict[str, dict[str, float]]
    neutral_values: dict[str, float]
    code_version: str
    kind: str = ForestArrays.KIND
    budget: AlertBudget | None = None
    reference: Reference | None = None
    blend: ChosenBlend | None = None
    calibration: ChosenCalibration | None = None
    threshold_choice: ThresholdChoice | None = None
    own_features: tuple[UsedModule, ...] | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Return the content of ``manifest.json``, a ``ManifestDocument``."""
        document = asdict(self)
        for name in ("calibration", "threshold_choice", "own_features"):
            if document[name] is None:  # the manifest of such a model is the same as before these fields
                del document[name]
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def parse_manifest(content: bytes) -> ModelManifest:
    """Parse the content of ``manifest.json``.

    Raises:
        ModelError: ``NEWER_SCHEMA``, ``UNKNOWN_KIND`` (both checked before the rest), or ``BAD_MANIFEST``.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ModelError(ModelFault.BAD_MANIFEST, f"{MANIFEST_FILE} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(ModelFault.BAD_MANIFEST, f"{MANIFEST_FILE} is not a JSON object")
    schema_version = _take(document, "schema_version", int)
    if schema_version > SCHEMA_VERSION:
        detail = f"schema version {schema_version}; this program reads versions up to {SCHEMA_VERSION}, upgrade it"
        raise ModelError(ModelFault.NEWER_SCHEMA, detail)
    if schema_version < 1:
        raise ModelError(ModelFault.BAD_MANIFEST, f"schema_version is {schema_version}; it starts at 1")
    kind = _take(document, "kind", str)
    if kind not in FAMILIES or (schema_version == 1 and kind != ForestArrays.KIND):
        raise ModelError(ModelFault.UNKNOWN_KIND, f"kind {kind!r}; this program serves {', '.join(FAMILIES)}")
    return _manifest(document, kind, schema_version)


def _manifest(document: dict[str, Any], kind: str, schema_version: int) -> ModelManifest:
    data = _take(document, "training_data", dict)
    quantiles = _take(document, "feature_quantiles", dict)
    names = _take(document, "feature_names", list)
    if not all(isinstance(name, str) for name in names):
        raise ModelError(ModelFault.BAD_MANIFEST, "feature_names holds a value that is not a string")
    return ModelManifest(
        version=_take(document, "version", str),
        created_at=_take(document, "created_at", str),
        feature_names=tuple(names),
        feature_hash=_take(document, "feature_hash", str),
        arrays_sha256=_take(document, "arrays_sha256", str),
        training_data=TrainingData(
            source=_take(data, "source", str),
            source_sha256=_optional(data, "source_sha256", str),
            features_sha256=_take(data, "features_sha256", str),
            rows=_take(data, "rows", int),
            first_event_time_ms=_take(data, "first_event_time_ms", int),
            last_event_time_ms=_take(data, "last_event_time_ms", int),
            labelled_rows=_optional(data, "labelled_rows", int) or 0,
            labels_sha256=_optional(data, "labels_sha256", str),
        ),
        parameters=_take(document, "parameters", dict),
        metrics=_numbers(document, "metrics"),
        score_quantiles=_numbers(document, "score_quantiles"),
        feature_quantiles={name: _numbers(quantiles, name) for name in quantiles},
        neutral_values=_numbers(document, "neutral_values"),
        code_version=_take(document, "code_version", str),
        kind=kind,
        budget=_budget(_optional(document, "budget", dict)),
        reference=None if document.get("reference") is None else parse_reference(document["reference"]),
        blend=_blend(_optional(document, "blend", dict)),
        calibration=parse_calibration(document.get("calibration")),
        threshold_choice=parse_threshold_choice(document.get("threshold_choice")),
        own_features=parse_used(document.get("own_features")),
        schema_version=schema_version,
    )


def _budget(document: dict[str, Any] | None) -> AlertBudget | None:
    if document is None:
        return None
    numbers = _numbers({"budget": document}, "budget")
    if numbers.keys() != {field.name for field in fields(AlertBudget)}:
        raise ModelError(ModelFault.BAD_MANIFEST, "'budget' needs alerts_per_day, alpha and threshold")
    return AlertBudget(**numbers)


def _blend(document: dict[str, Any] | None) -> ChosenBlend | None:
    if document is None:
        return None
    numbers = _numbers({"blend": document}, "blend")
    if numbers.keys() != {field.name for field in fields(ChosenBlend)}:
        raise ModelError(ModelFault.BAD_MANIFEST, "'blend' lacks a number, or holds an unknown one")
    blend = ChosenBlend(**numbers)
    if not (0.0 <= blend.alpha <= 1.0 and 0.0 <= blend.threshold <= 1.0):
        raise ModelError(ModelFault.BAD_MANIFEST, "alpha and threshold of 'blend' must be numbers from 0 to 1")
    return blend


def _take(document: dict[str, Any], key: str, kind: type[T]) -> T:
    value = document.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelError(ModelFault.BAD_MANIFEST, f"{key!r} is missing or not of type {kind.__name__}")
    return value


def _optional(document: dict[str, Any], key: str, kind: type[T]) -> T | None:
    return None if document.get(key) is None else _take(document, key, kind)


def _numbers(document: dict[str, Any], key: str) -> dict[str, float]:
    values = _take(document, key, dict)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
        raise ModelError(ModelFault.BAD_MANIFEST, f"{key!r} holds a value that is not a number")
    return {name: float(value) for name, value in values.items()}
