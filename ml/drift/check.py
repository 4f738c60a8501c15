"""One drift check of one model: every measure with its thresholds and level, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from flink_jobs.core.models.reference import SCORE
from ml.drift.binning import bin_values
from ml.drift.distances import chance_psi, kolmogorov_p_value, kolmogorov_smirnov, population_stability_index
from ml.drift.intervals import wilson_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flink_jobs.core.models.manifest import ModelManifest
    from flink_jobs.core.models.reference import Bins, Reference

ALERTS: Final = "alerts"
MODEL: Final = "model"
DAY_MS: Final = 86_400_000


class DriftLevel(StrEnum):
    """Level of one measure."""

    OK = "ok"
    WATCH = "watch"
    ACT = "act"
    UNKNOWN = "unknown"
    """Too few rows or labels, or the manifest lacks the expected value."""


class DriftVerdict(StrEnum):
    """Recommended action for the model."""

    STABLE = "stable"
    WATCH = "watch"
    RETRAIN = "retrain"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds of the measures: each pair is (watch, act), and a measure at the threshold has reached it.

    Attributes:
        psi: population stability index of a feature or the score, minus the value expected by chance.
        ks: Kolmogorov-Smirnov distance of a feature or the score; counts only with a p-value below ``ks_p_value``.
        ks_p_value: strict, because the rows of one customer depend on each other.
        rate_ratio: alert rate now divided by the expected rate, or the inverse, whichever is larger.
        precision_drop: expected precision of alerts minus the upper end of the interval of the measured precision.
        age_days: days from the last training row to the end of the window.
        min_rows: with fewer decisions, no distribution and no rate is judged.
        min_labelled_alerts: with fewer labelled alerts, precision is not judged.
    """

    psi: tuple[float, float] = (0.10, 0.25)
    ks: tuple[float, float] = (0.10, 0.20)
    ks_p_value: float = 0.001
    rate_ratio: tuple[float, float] = (1.5, 2.5)
    precision_drop: tuple[float, float] = (0.10, 0.20)
    age_days: tuple[float, float] = (30.0, 90.0)
    min_rows: int = 500
    min_labelled_alerts: int = 50


@dataclass(frozen=True, slots=True)
class Observed:
    """Decisions of a model in a window of event time.

    Attributes:
        model_version: version of the model.
        since_ms: start of the window, inclusive, UTC milliseconds.
        until_ms: end of the window, exclusive, UTC milliseconds.
        features: by feature name, the values as served; NaN where absent.
        scores: model scores, 0 to 1.
        alerts: decisions at or above the alert threshold.
        fraud_alerts: alerts labelled fraud.
        genuine_alerts: alerts labelled genuine.
        rows_since_training: decisions of the model after its last training row, inside the window or not.
    """

    model_version: str
    since_ms: int
    until_ms: int
    features: Mapping[str, NDArray[np.float64]]
    scores: NDArray[np.float64]
    alerts: int
    fraud_alerts: int
    genuine_alerts: int
    rows_since_training: int

    @property
    def rows(self) -> int:
        """Number of decisions."""
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured value with its thresholds."""

    subject: str
    """A feature name, ``score``, ``alerts`` or ``model``."""
    measure: str
    value: float | None
    watch_at: float | None
    act_at: float | None
    level: DriftLevel
    detail: str


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """All measures of one model, and the verdict."""

    observed: Observed
    measures: tuple[Measure, ...]
    verdict: DriftVerdict
    reasons: tuple[str, ...]
    """One line for each measure at the highest level reached: those at ``act``, or else those at ``watch``."""


def check_drift(observed: Observed, manifest: ModelManifest, thresholds: Thresholds) -> DriftCheck:
    """Compare the decisions of a model with the distributions and rates in its manifest."""
    measures = (
        *_distributions(observed, manifest.reference, thresholds),
        _alert_rate(observed, manifest.metrics, thresholds),
        _precision(observed, manifest.metrics, thresholds),
        _age(observed, manifest, thresholds),
        _rows_since(observed, manifest),
    )
    verdict, worst = _verdict(observed, measures, thresholds)
    reasons = tuple(f"{one.subject} {one.measure}: {one.detail}" for one in measures if one.level is worst)
    if verdict is DriftVerdict.UNKNOWN:
        reasons = (f"{observed.rows:,} decisions in the window; at least {thresholds.min_rows:,} are needed",)
    return DriftCheck(observed, measures, verdict, reasons)


def _verdict(
    observed: Observed, measures: tuple[Measure, ...], thresholds: Thresholds
) -> tuple[DriftVerdict, DriftLevel | None]:
    levels = {one.level for one in measures}
    if DriftLevel.ACT in levels:
        return DriftVerdict.RETRAIN, DriftLevel.ACT
    if observed.rows < thresholds.min_rows:
        return DriftVerdict.UNKNOWN, None
    if DriftLevel.WATCH in levels:
        return DriftVerdict.WATCH, DriftLevel.WATCH
    return DriftVerdict.STABLE, None


def _distributions(observed: Observed, reference: Reference | None, thresholds: Thresholds) -> Iterator[Measure]:
    if reference is None:
        yield _unknown(SCORE, "psi", thresholds.psi, "the manifest has no reference; train the model again")
        return
    for name, expected in reference.bins.items():
        values = observed.scores if name == SCORE else observed.features.get(name)
        if values is None or observed.rows < thresholds.min_rows:
            problem = "not served" if values is None else f"{observed.rows:,} rows, {thresholds.min_rows:,} are needed"
            yield _unknown(name, "psi", thresholds.psi, problem)
            yield _unknown(name, "ks", thresholds.ks, problem)
            continue
        actual = bin_values(values, expected.edges)
        yield _psi(name, expected, actual, (observed.rows, reference.rows), thresholds)
        yield _ks(name, expected, actual, (observed.rows, reference.rows), thresholds)


def _psi(name: str, expected: Bins, actual: Bins, rows: tuple[int, int], thresholds: Thresholds) -> Measure:
    raw, chance = population_stability_index(expected, actual), chance_psi(expected, *rows)
    value = max(0.0, raw - chance)
    detail = (
        f"{raw:.3f}, {chance:.3f} of it by chance; absent {expected.absent:.1%} in training, {actual.absent:.1%} now"
    )
    return _measure(name, "psi", value, thresholds.psi, detail)


def _ks(name: str, expected: Bins, actual: Bins, rows: tuple[int, int], thresholds: Thresholds) -> Measure:
    value = kolmogorov_smirnov(expected, actual)
    present = round(rows[0] * (1.0 - actual.absent)), round(rows[1] * (1.0 - expected.absent))
    p_value = kolmogorov_p_value(value, *present)
    detail = f"{value:.3f}, p-value {p_value:.2g}"
    if p_value >= thresholds.ks_p_value:
        return Measure(name, "ks", value, *thresholds.ks, DriftLevel.OK, detail)
    return _measure(name, "ks", value, thresholds.ks, detail)


def _alert_rate(observed: Observed, metrics: Mapping[str, float], thresholds: Thresholds) -> Measure:
    subject, measure, limits = ALERTS, "rate_ratio", thresholds.rate_ratio
    expected = metrics.get("alert_rate")
    if not expected:
        return _unknown(subject, measure, limits, "the manifest has no alert rate")
    if observed.rows < thresholds.min_rows:
        return _unknown(subject, measure, limits, f"{observed.rows:,} decisions, {thresholds.min_rows:,} are needed")
    rate = observed.alerts / observed.rows
    low, high = wilson_interval(observed.alerts, observed.rows)
    detail = f"{rate:.2%} of the decisions are alerts, {expected:.2%} were expected"
    value = max(rate / expected, expected / rate) if rate else None
    # The end of the interval that is nearer to the expected rate: a few alerts more or fewer are no drift.
    nearest = min(max(expected, low), high)
    certain = max(nearest / expected, expected / nearest) if nearest else limits[1]
    level = _level(certain, limits)
    return Measure(subject, measure, value, *limits, level, detail)


def _precision(observed: Observed, metrics: Mapping[str, float], thresholds: Thresholds) -> Measure:
    subject, measure, limits = ALERTS, "precision_drop", thresholds.precision_drop
    labelled = observed.fraud_alerts + observed.genuine_alerts
    expected = metrics.get("alert_precision")
    if expected is None:
        return _unknown(subject, measure, limits, "the manifest has no precision: the model was trained without labels")
    if labelled < thresholds.min_labelled_alerts:
        detail = f"{labelled:,} labelled alerts, {thresholds.min_labelled_alerts:,} are needed"
        return _unknown(subject, measure, limits, detail)
    precision = observed.fraud_alerts / labelled
    _, high = wilson_interval(observed.fraud_alerts, labelled)
    detail = f"{precision:.1%} of {labelled:,} labelled alerts are fraud, {expected:.1%} were expected"
    return Measure(subject, measure, expected - precision, *limits, _level(expected - high, limits), detail)


def _age(observed: Observed, manifest: ModelManifest, thresholds: Thresholds) -> Measure:
    days = max(0.0, (observed.until_ms - manifest.training_data.last_event_time_ms) / DAY_MS)
    return _measure(MODEL, "age_days", days, thresholds.age_days, f"{days:.1f} days since the last training row")


def _rows_since(observed: Observed, manifest: ModelManifest) -> Measure:
    rows, trained = observed.rows_since_training, manifest.training_data.rows
    detail = f"{rows:,} decisions since the last training row, {trained:,} training rows"
    return Measure(MODEL, "rows_since_training", float(rows), None, None, DriftLevel.OK, detail)


def _measure(subject: str, measure: str, value: float, limits: tuple[float, float], detail: str) -> Measure:
    return Measure(subject, measure, value, *limits, _level(value, limits), detail)


def _unknown(subject: str, measure: str, limits: tuple[float, float], detail: str) -> Measure:
    return Measure(subject, measure, None, *limits, DriftLevel.UNKNOWN, detail)


def _level(value: float, limits: tuple[float, float]) -> DriftLevel:
    watch, act = limits
    return DriftLevel.ACT if value >= act else DriftLevel.WATCH if value >= watch else DriftLevel.OK
