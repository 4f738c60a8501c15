"""Imports a model of another library: converts, checks parity, and describes it in a manifest as a trained model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.models.artifact import ModelArrays
from flink_jobs.core.models.manifest import ModelManifest, TrainingData, feature_hash
from flink_jobs.core.models.model import build_model
from flink_jobs.core.models.own_use import used_modules
from flink_jobs.errors import UserError
from ml.blending import Validated
from ml.choosing import choose
from ml.dataset import FRAUD, UNKNOWN
from ml.importing.foreign_trees import convert
from ml.importing.formats import ForeignFormat
from ml.importing.lightgbm_text import read_lightgbm
from ml.importing.onnx_trees import read_onnx_trees
from ml.importing.parity import ask_library, check_parity, read_expected
from ml.importing.sklearn_json import read_sklearn
from ml.importing.xgboost_json import read_xgboost
from ml.measures import measure_model
from ml.model_scores import apply_rows, score_rows
from ml.own_columns import own_names
from ml.parameters import ModelFamily
from ml.splitting import split_by_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flink_jobs.core.own_features.loading import OwnFeatures
    from ml.dataset import Dataset
    from ml.importing.foreign_trees import Converted, ForeignModel
    from ml.importing.parity import Expected
    from ml.parameters import TrainingParameters

UNKNOWN_DIGEST: Final = "unknown"
"""``features_sha256`` of an imported model: its training rows are not known here."""
VALIDATION_SHARE: Final = 0.5
"""Share of the later rows, oldest first, on which the blend is chosen; the others measure the model."""


READERS: Final = {
    ForeignFormat.LIGHTGBM: read_lightgbm,
    ForeignFormat.XGBOOST: read_xgboost,
    ForeignFormat.ONNX_TREES: read_onnx_trees,
    ForeignFormat.SKLEARN_JSON: read_sklearn,
}


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A model to import.

    Attributes:
        file: the model file.
        format: its format.
        trained_until: time of its last training row: the gate compares models on later rows only.
        names: names of its inputs in order; empty: those of the file.
        parity: CSV file of rows with predictions; None: the library predicts, which must be installed then.
        version: version name; None: the day of ``trained_until`` and the start of the arrays' digest.
        code_version: version of this program.
        created_at: time of the import.
        own: the own features of the installation, which can be inputs too.
    """

    file: Path
    format: ForeignFormat
    trained_until: datetime
    names: Sequence[str]
    parity: Path | None
    version: str | None
    code_version: str
    created_at: datetime
    own: OwnFeatures | None = None


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model in the detector's form, not yet published.

    Attributes:
        manifest: its manifest; ``parameters`` holds the library and the result of the comparison.
        arrays: its arrays.
        unused: inputs that no split uses and that were left out.
    """

    manifest: ModelManifest
    arrays: ModelArrays
    unused: tuple[str, ...]


def import_foreign(asked: ImportRequest) -> ImportedModel:
    """Read, convert and check a model.

    Raises:
        UserError: the file is not such a model, the model needs something that the detector does not compute, or its
            scores differ from the library's.
        ModelError: the trees exceed a limit of the detector.
    """
    try:
        content = asked.file.read_bytes()
    except OSError as error:
        raise UserError(f"{asked.file} cannot be read ({error.strerror})", "check the path") from None
    foreign = READERS[asked.format](content)
    own = () if asked.own is None else asked.own.names
    converted = convert(foreign, asked.names, own)
    arrays = ModelArrays(converted.arrays)
    draft = _manifest(asked, converted, arrays.digest(), hashlib.sha256(content).hexdigest())
    expected = _expected(asked, foreign, converted)
    scores = apply_rows(build_model(draft, arrays, (*FEATURE_NAMES, *own)).score_row, expected.rows)
    difference = check_parity(scores, expected, foreign.tolerance)
    manifest = replace(
        draft,
        parameters={
            "imported_from": foreign.library,
            "library_version": foreign.library_version,
            "parity_against": expected.source,
            "parity_rows": len(expected.rows),
            "parity_difference": difference,
            "parity_tolerance": foreign.tolerance,
        },
    )
    return ImportedModel(manifest, arrays, converted.unused)


def _manifest(asked: ImportRequest, converted: Converted, digest: str, file_sha256: str) -> ModelManifest:
    """Return the manifest before the comparison and without measures. The training rows are not known: 0 rows."""
    until = asked.trained_until.astimezone(UTC)
    until_ms = int(until.timestamp() * 1_000)
    neutral = dict(zip(FEATURE_NAMES, NEUTRAL_VALUES, strict=True))
    neutral |= {item.spec.name: item.spec.neutral for item in (() if asked.own is None else asked.own.features)}
    return ModelManifest(
        version=asked.version or f"{until:%Y%m%d}-{digest[:10]}",
        created_at=asked.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        feature_names=converted.names,
        feature_hash=feature_hash(converted.names),
        arrays_sha256=digest,
        training_data=TrainingData(asked.file.name, file_sha256, UNKNOWN_DIGEST, 0, until_ms, until_ms),
        parameters={},
        metrics={},
        score_quantiles={},
        feature_quantiles={},
        neutral_values={name: neutral[name] for name in converted.names},
        code_version=asked.code_version,
        kind=ModelFamily.GRADIENT_BOOSTING.value,
        own_features=used_modules(asked.own, converted.names),
    )


def _expected(asked: ImportRequest, foreign: ForeignModel, converted: Converted) -> Expected:
    if asked.parity is not None:
        return read_expected(asked.parity, converted.names)
    expected = None
    if not converted.unused:
        expected = ask_library(foreign.library, asked.file, converted.names, converted.arrays)
    if expected is None:
        reason = "some inputs were left out" if converted.unused else f"{foreign.library} cannot predict here"
        what = f"the scores cannot be compared: {reason}, and no predictions are given"
        raise UserError(
            what, "give rows with the predictions of the library: --parity ROWS.csv, or install the library"
        )
    return expected


def measured_on(imported: ImportedModel, rows: Dataset, parameters: TrainingParameters) -> ImportedModel:
    """Return the model with own blend, calibration and measures, from labelled rows that it was not trained on.

    Args:
        imported: the model.
        rows: a labelled history.
        parameters: ``alerts_per_day`` is the alert budget.

    Raises:
        UserError: fewer than two rows are later than the model's training data.
    """
    manifest = imported.manifest
    later = rows.where(rows.event_time_ms > manifest.training_data.last_event_time_ms)
    check, late = split_by_time(later, VALIDATION_SHARE) if len(later) > 1 else (later, later)
    if not len(check) or not len(late):
        what = "no rows are later than the training data of the model"
        raise UserError(what, "give later rows, or correct --trained-until")
    model = build_model(manifest, imported.arrays, (*FEATURE_NAMES, *own_names(rows.own)))
    frauds, known = int((check.labels == FRAUD).sum()), int((check.labels != UNKNOWN).sum())
    validated = Validated(check, score_rows(model, check)) if 0 < frauds < known else None
    blend, calibration, choice = choose(validated, parameters)
    names = manifest.feature_names
    measured = score_rows(model, late)
    measures = measure_model(late, measured, names, {}, parameters, blend, calibration=calibration)
    described = replace(
        manifest,
        blend=blend,
        calibration=calibration,
        threshold_choice=choice,
        metrics=measures.metrics,
        score_quantiles=measures.score_quantiles,
        feature_quantiles=measures.input_quantiles,
        budget=measures.budget,
        reference=measures.reference,
    )
    return replace(imported, manifest=described)
