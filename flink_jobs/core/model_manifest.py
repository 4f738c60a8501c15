"""`manifest.json` of a model artefact: what the arrays beside it are, and where they came from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import orjson

from flink_jobs.core.model_faults import ModelError, ModelFault

SCHEMA_VERSION: Final = 1
KIND: Final = "isolation_forest"
MANIFEST_FILE: Final = "manifest.json"
ARRAYS_FILE: Final = "model.npz"
CURRENT_FILE: Final = "current"
"""Beside the version directories: plain text, the version to serve unless control says otherwise."""

T = TypeVar("T")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_model_version(text: str) -> bool:
    """Tell whether `text` may name a version: 1 to 64 letters, digits, `.`, `_`, `-`; never a path."""
    return _VERSION.fullmatch(text) is not None and text != CURRENT_FILE


def feature_hash(names: tuple[str, ...]) -> str:
    """SHA-256 (hex) of the feature names in order; the JSON list keeps `("a,b",)` apart from `("a", "b")`."""
    return hashlib.sha256(orjson.dumps(list(names))).hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What the model saw.

    Attributes:
        source: file name without its directory, or another short label.
        source_sha256: digest of the file's bytes; None when the rows did not come from a file.
        features_sha256: digest of the training feature matrix and its event times.
        rows: rows trained on.
        first_event_time_ms: event time of the first of them, UTC milliseconds.
        last_event_time_ms: of the last.
    """

    source: str
    source_sha256: str | None
    features_sha256: str
    rows: int
    first_event_time_ms: int
    last_event_time_ms: int


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """Everything known about one model version.

    Attributes:
        version: name of the directory.
        created_at: ISO 8601, UTC.
        feature_names: inputs in order.
        feature_hash: `feature_hash(feature_names)`.
        arrays_sha256: `arrays_digest` of the arrays file.
        training_data: what it was trained on.
        parameters: of the training run, seed included.
        metrics: name to value; ROC AUC and average precision only where labels existed.
        score_quantiles: quantile ("0.01" to "0.99") to score on the later part of the data: the reference for drift.
        feature_quantiles: the same for each feature.
        neutral_values: what an absent feature was replaced by, per feature.
        code_version: of the program that trained it.
        kind: model family.
        schema_version: of this manifest and the arrays.
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
    kind: str = KIND
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Return the file's content."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def parse_manifest(content: bytes) -> ModelManifest:
    """Read a manifest.

    Raises:
        ModelError: `NEWER_SCHEMA`, `UNKNOWN_KIND` (both judged before the rest is looked at), `BAD_MANIFEST`.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ModelError(ModelFault.BAD_MANIFEST, f"{MANIFEST_FILE} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(ModelFault.BAD_MANIFEST, f"{MANIFEST_FILE} is not a JSON object")
    schema_version = _take(document, "schema_version", int)
    if schema_version > SCHEMA_VERSION:
        detail = f"schema version {schema_version}, this program reads up to {SCHEMA_VERSION}; upgrade it"
        raise ModelError(ModelFault.NEWER_SCHEMA, detail)
    if schema_version < 1:
        raise ModelError(ModelFault.BAD_MANIFEST, f"schema_version is {schema_version}; it starts at 1")
    kind = _take(document, "kind", str)
    if kind != KIND:
        raise ModelError(ModelFault.UNKNOWN_KIND, f"kind {kind!r}; this program serves {KIND!r}")
    return _manifest(document)


def _manifest(document: dict[str, Any]) -> ModelManifest:
    data = _take(document, "training_data", dict)
    source_sha256 = data.get("source_sha256")
    quantiles = _take(document, "feature_quantiles", dict)
    names = _take(document, "feature_names", list)
    if not all(isinstance(name, str) for name in names):
        raise ModelError(ModelFault.BAD_MANIFEST, "feature_names holds something else than strings")
    return ModelManifest(
        version=_take(document, "version", str),
        created_at=_take(document, "created_at", str),
        feature_names=tuple(names),
        feature_hash=_take(document, "feature_hash", str),
        arrays_sha256=_take(document, "arrays_sha256", str),
        training_data=TrainingData(
            source=_take(data, "source", str),
            source_sha256=None if source_sha256 is None else _take(data, "source_sha256", str),
            features_sha256=_take(data, "features_sha256", str),
            rows=_take(data, "rows", int),
            first_event_time_ms=_take(data, "first_event_time_ms", int),
            last_event_time_ms=_take(data, "last_event_time_ms", int),
        ),
        parameters=_take(document, "parameters", dict),
        metrics=_numbers(document, "metrics"),
        score_quantiles=_numbers(document, "score_quantiles"),
        feature_quantiles={name: _numbers(quantiles, name) for name in quantiles},
        neutral_values=_numbers(document, "neutral_values"),
        code_version=_take(document, "code_version", str),
    )


def _take(document: dict[str, Any], key: str, kind: type[T]) -> T:
    value = document.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelError(ModelFault.BAD_MANIFEST, f"{key!r} is missing or not of type {kind.__name__}")
    return value


def _numbers(document: dict[str, Any], key: str) -> dict[str, float]:
    values = _take(document, key, dict)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
        raise ModelError(ModelFault.BAD_MANIFEST, f"{key!r} holds something else than numbers")
    return {name: float(value) for name, value in values.items()}
