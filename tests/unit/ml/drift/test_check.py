"""The drift check: each measure at and around its thresholds, and the verdict."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from flink_jobs.core.models.manifest import ModelManifest
from flink_jobs.core.models.reference import SCORE, Reference
from ml.drift.binning import take_reference
from ml.drift.check import DAY_MS, DriftCheck, DriftLevel, DriftVerdict, Observed, Thresholds, check_drift
from ml.drift.drift_metrics import DriftMetrics
from tests.unit.ml.evaluation.samples import manifest_of

RNG = np.random.default_rng(11)
SPEED, SCORES = RNG.gamma(2.0, 3.0, 20_000), RNG.beta(2, 6, 20_000)
METRICS = {"alert_rate": 0.02, "alert_precision": 0.6}

OK, WATCH, ACT, UNKNOWN = DriftLevel.OK, DriftLevel.WATCH, DriftLevel.ACT, DriftLevel.UNKNOWN


def manifest(**changes: object) -> ModelManifest:
    reference = Reference(len(SPEED), {"geo_speed_kmh": take_reference(SPEED), SCORE: take_reference(SCORES)})
    return replace(manifest_of("v1", last_event_time_ms=0), reference=reference, metrics=METRICS, **changes)  # type: ignore[arg-type]


def observed(rows: int = 4_000, **changes: object) -> Observed:
    rng = np.random.default_rng(12)
    same = Observed(
        model_version="v1", since_ms=DAY_MS, until_ms=8 * DAY_MS,
        features={"geo_speed_kmh": rng.gamma(2.0, 3.0, rows)}, scores=rng.beta(2, 6, rows),
        alerts=round(rows * 0.02), fraud_alerts=36, genuine_alerts=24, rows_since_training=rows,
    )  # fmt: skip
    return replace(same, **changes)  # type: ignore[arg-type]


def check(seen: Observed, **changes: object) -> DriftCheck:
    return check_drift(seen, manifest(**changes), Thresholds())


def level(result: DriftCheck, subject: str, measure: str) -> DriftLevel:
    return next(one.level for one in result.measures if (one.subject, one.measure) == (subject, measure))


def test_unchanged_data_is_stable() -> None:
    result = check(observed())
    assert result.verdict is DriftVerdict.STABLE
    assert result.reasons == ()
    assert {one.level for one in result.measures} == {OK}
    assert len(result.measures) == 8


@pytest.mark.parametrize(("shift", "expected"), [(1.0, OK), (1.3, WATCH), (2.5, ACT)])
def test_a_feature_with_shifted_values(shift: float, expected: DriftLevel) -> None:
    moved = {"geo_speed_kmh": observed().features["geo_speed_kmh"] * shift}
    assert level(check(observed(features=moved)), "geo_speed_kmh", "psi") is expected


def test_an_absent_feature_is_named_in_the_reasons() -> None:
    result = check(observed(features={"geo_speed_kmh": np.full(4_000, math.nan)}))
    assert result.verdict is DriftVerdict.RETRAIN
    assert any(why.startswith("geo_speed_kmh psi") for why in result.reasons)


def test_shifted_scores() -> None:
    result = check(observed(scores=np.clip(observed().scores + 0.3, 0.0, 1.0)))
    assert result.verdict is DriftVerdict.RETRAIN
    assert level(result, SCORE, "ks") is ACT


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.02, OK),
        (0.028, OK),
        (0.04, WATCH),
        (0.1, ACT),
        (0.0, ACT),
    ],
)
def test_alerts_that_become_more_or_fewer(rate: float, expected: DriftLevel) -> None:
    assert level(check(observed(alerts=round(4_000 * rate))), "alerts", "rate_ratio") is expected


@pytest.mark.parametrize(
    ("fraud", "genuine", "expected"),
    [
        (36, 24, OK),
        (160, 240, WATCH),
        (20, 180, ACT),
        (0, 49, UNKNOWN),
        (100, 0, OK),
    ],
)
def test_precision_of_alerts_that_drops(fraud: int, genuine: int, expected: DriftLevel) -> None:
    result = check(observed(fraud_alerts=fraud, genuine_alerts=genuine))
    assert level(result, "alerts", "precision_drop") is expected


@pytest.mark.parametrize(("days", "expected"), [(29, OK), (30, WATCH), (89, WATCH), (90, ACT)])
def test_the_age_of_a_model(days: int, expected: DriftLevel) -> None:
    assert level(check(observed(until_ms=days * DAY_MS)), "model", "age_days") is expected


def test_too_few_rows_judge_nothing_but_age() -> None:
    result = check(observed(rows=499))
    assert result.verdict is DriftVerdict.UNKNOWN
    assert "499 decisions" in result.reasons[0]
    assert level(result, "geo_speed_kmh", "psi") is UNKNOWN
    assert check(observed(rows=499, until_ms=100 * DAY_MS)).verdict is DriftVerdict.RETRAIN


def test_a_manifest_without_expected_values_gives_no_alarm() -> None:
    bare = replace(manifest(), reference=None, metrics={})
    result = check_drift(observed(), bare, Thresholds())
    assert result.verdict is DriftVerdict.STABLE
    assert level(result, SCORE, "psi") is UNKNOWN
    assert level(result, "alerts", "precision_drop") is UNKNOWN


def test_the_metrics_show_the_last_check_only() -> None:
    metrics = DriftMetrics()
    metrics.show(check(observed(features={})), 1.0)
    metrics.show(check(observed()), 2.0)
    value = metrics.registry.get_sample_value
    assert value("streamflow_model_psi", {"subject": "geo_speed_kmh"}) == pytest.approx(0.0, abs=0.01)
    assert value("streamflow_model_verdict", {"verdict": "stable"}) == 1.0
    assert value("streamflow_model_verdict", {"verdict": "retrain"}) == 0.0
    assert value("streamflow_model_age_days") == 8.0
    assert value("streamflow_model_window_decisions") == 4_000.0
    assert value("streamflow_model_watched", {"version": "v1"}) == 1.0
    assert value("streamflow_model_last_check_time_seconds") == 2.0
