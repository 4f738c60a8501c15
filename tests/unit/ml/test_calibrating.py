"""The calibration of a model: probabilities that hold on rows that took no part, and scikit-learn as oracle."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.models.chosen_calibration import MAX_POINTS, parse_calibration
from flink_jobs.core.models.manifest import parse_manifest
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from ml.blending import LIST_RULE, blend_rows
from ml.calibrating import MAX_BLOCKS, blocks_of, fit_calibration, joined, probabilities
from ml.model_scores import score_rows
from ml.splitting import split_by_time
from ml.train import train_model
from tests.unit.ml.synthetic import dataset
from tests.unit.ml.test_blending import BOOSTED, FOREST, rows_with_rules
from tests.unit.ml.test_train import PROVENANCE

if TYPE_CHECKING:
    from ml.parameters import TrainingParameters

SCORED = st.lists(st.tuples(st.sampled_from([n / 50 for n in range(51)]), st.booleans()), min_size=2, max_size=200)


@given(SCORED)
def test_the_blocks_are_those_of_isotonic_regression(rows: list[tuple[float, bool]]) -> None:
    scores, fraud = np.array([score for score, _ in rows]), np.array([label for _, label in rows])
    frauds, genuine = fraud.sum(), (~fraud).sum()
    targets = np.where(fraud, (frauds + 1) / (frauds + 2), 1 / (genuine + 2))
    expected = IsotonicRegression().fit(scores, targets).predict(scores)
    blocks = blocks_of(scores, fraud)
    assert sum(block.rows for block in blocks) == len(rows)
    for score, rate in zip(scores, expected, strict=True):
        (mine,) = [block for block in blocks if block.first <= score <= block.last]
        assert mine.frauds / mine.rows == pytest.approx(rate, abs=1e-9)


@given(SCORED)
def test_joined_blocks_rise_and_keep_every_row(rows: list[tuple[float, bool]]) -> None:
    scores, fraud = np.array([score for score, _ in rows]), np.array([label for _, label in rows])
    before, after = blocks_of(scores, fraud), joined(blocks_of(scores, fraud))
    assert len(after) <= min(len(before), MAX_BLOCKS)
    assert sum(block.rows for block in after) == len(rows)
    assert sum(block.frauds for block in after) == pytest.approx(sum(block.frauds for block in before))
    rates = [block.frauds / block.rows for block in after]
    assert rates == sorted(rates)
    assert all(0.0 < rate < 1.0 for rate in rates)
    assert all(one.last < two.first for one, two in pairwise(after))


def test_the_probability_holds_on_other_rows() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random(40_000) ** 4
    made = dataset(40_000)
    rows = replace(made, labels=(rng.random(40_000) < 0.9 * scores**2).astype(np.int8))
    half = np.arange(40_000) < 20_000
    fitted = fit_calibration(rows.where(half), scores[half], 1.0)
    assert 3 <= len(fitted.scores) <= MAX_POINTS
    assert parse_calibration({name: list(value) if isinstance(value, tuple) else value
                              for name, value in vars_of(fitted).items()}) == fitted  # fmt: skip
    found, true = np.interp(scores[~half], fitted.scores, fitted.probabilities), 0.9 * scores[~half] ** 2
    assert np.abs(found - true).mean() < 0.01
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        inside = (scores[~half] >= low) & (scores[~half] < high)
        assert found[inside].mean() == pytest.approx(true[inside].mean(), rel=0.15)


def vars_of(fitted: object) -> dict[str, object]:
    return {name: getattr(fitted, name) for name in ("alpha", "scores", "probabilities", "rows", "frauds")}


@pytest.mark.parametrize("parameters", [FOREST, BOOSTED])
def test_training_fits_and_measures_a_calibration(parameters: TrainingParameters) -> None:
    rows = rows_with_rules()
    trained = train_model(rows, parameters, PROVENANCE)
    manifest, calibration = trained.manifest, trained.manifest.calibration
    assert manifest.blend is not None
    assert calibration is not None
    assert (calibration.alpha, calibration.rows) == (manifest.blend.alpha, manifest.blend.rows)
    assert parse_manifest(manifest.to_json()) == manifest
    assert trained.reliability is not None
    assert trained.reliability.brier.value == manifest.metrics["probability_brier"]
    assert manifest.metrics["probability_calibration_error"] < 0.1
    served = build_model(manifest, trained.arrays, OFFLINE_FEATURES)
    _, late = split_by_time(rows, parameters.train_fraction)
    hits = late.rule_hits.copy()
    hits[:3, LIST_RULE] = True
    late = replace(late, rule_hits=hits)
    blend, _ = blend_rows(late, score_rows(served, late), DetectionConfig(), served.own_blend)
    found = probabilities(late, blend, served, DetectionConfig())
    curve = served.probability
    assert curve is not None
    assert found is not None
    lowered = 1.0 - manifest.blend.alpha < manifest.blend.threshold
    assert np.isnan(found[:3]).all() == lowered
    assert found[3:].tolist() == pytest.approx([curve.at(score) for score in blend[3:].tolist()], abs=1e-12)
    assert probabilities(late, blend, served, DetectionConfig(alpha=0.11, alpha_is_set=True)) is None


def test_a_model_without_labels_has_no_calibration_and_the_manifest_of_before() -> None:
    rows = rows_with_rules()
    trained = train_model(replace(rows, labels=np.full(len(rows), -1, dtype=np.int8)), FOREST, PROVENANCE)
    assert trained.manifest.calibration is None
    assert trained.reliability is None
    assert b"calibration" not in trained.manifest.to_json()
    assert build_model(trained.manifest, trained.arrays).probability is None
