"""``manifest.json`` as JSON types: the form in which a manifest is stored in artifacts and in the registry."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class BinsDocument(TypedDict):
    """``Bins`` as JSON."""

    edges: list[float]
    shares: list[float]
    absent: float


class ReferenceDocument(TypedDict):
    """``Reference`` as JSON."""

    rows: int
    bins: dict[str, BinsDocument]


class TrainingDataDocument(TypedDict):
    """``TrainingData`` as JSON; the last two keys are absent in schema 1."""

    source: str
    source_sha256: str | None
    features_sha256: str
    rows: int
    first_event_time_ms: int
    last_event_time_ms: int
    labelled_rows: NotRequired[int]
    labels_sha256: NotRequired[str | None]


class BudgetDocument(TypedDict):
    """``AlertBudget`` as JSON."""

    alerts_per_day: float
    alpha: float
    threshold: float


class BlendDocument(TypedDict):
    """``ChosenBlend`` as JSON."""

    alpha: float
    threshold: float
    average_precision: float
    default_average_precision: float
    rows: float
    frauds: float


class CalibrationDocument(TypedDict):
    """``ChosenCalibration`` as JSON."""

    alpha: float
    scores: list[float]
    probabilities: list[float]
    rows: float
    frauds: float


class ThresholdRowDocument(TypedDict):
    """``ThresholdRow`` as JSON."""

    threshold: float
    alerts_per_day: float
    precision: float | None
    recall: float
    missed_per_day: float
    cost_per_day: float | None
    is_chosen: bool


class ThresholdChoiceDocument(TypedDict):
    """``ThresholdChoice`` as JSON."""

    rule: str
    alerts_per_day: float | None
    review_cost: float | None
    table: list[ThresholdRowDocument]


class UsedFeatureDocument(TypedDict):
    """``UsedFeature`` as JSON."""

    name: str
    unit: str
    low: float
    high: float
    neutral: float
    absent: str
    meaning: str


class UsedModuleDocument(TypedDict):
    """``UsedModule`` as JSON."""

    module: str
    sha256: str
    features: list[UsedFeatureDocument]


class ManifestDocument(TypedDict):
    """The content of ``manifest.json``, see ``ModelManifest``.

    ``budget`` and ``reference`` are absent in schema 1, and ``blend`` in manifests of earlier releases. ``calibration``
    and ``threshold_choice`` are absent for a model without an own blend, ``own_features`` for one without any.
    """

    version: str
    created_at: str
    feature_names: list[str]
    feature_hash: str
    arrays_sha256: str
    training_data: TrainingDataDocument
    parameters: dict[str, int | float | str | bool | None]
    metrics: dict[str, float]
    score_quantiles: dict[str, float]
    feature_quantiles: dict[str, dict[str, float]]
    neutral_values: dict[str, float]
    code_version: str
    kind: str
    budget: NotRequired[BudgetDocument | None]
    reference: NotRequired[ReferenceDocument | None]
    blend: NotRequired[BlendDocument | None]
    calibration: NotRequired[CalibrationDocument]
    threshold_choice: NotRequired[ThresholdChoiceDocument]
    own_features: NotRequired[list[UsedModuleDocument]]
    schema_version: int
