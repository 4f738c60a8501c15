"""A model's own blend is chosen on validation rows alone, keeps the number of alerts, and is computed as in the job."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.models.manifest import ChosenBlend
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RULES, RuleHit, RuleVerdict
from flink_jobs.core.scoring import Blender, OwnBlend
from ml.blending import GRID, MIN_FRAUDS, best_blend, blend_rows, blended, validate
from ml.dataset import Dataset
from ml.parameters import ModelFamily, TrainingParameters
from ml.splitting import split_by_time
from ml.train import train_model
from tests.unit.ml.synthetic import dataset
from tests.unit.ml.test_train import PROVENANCE, SMALL

FOREST = replace(SMALL, label_delay_days=0.0)
BOOSTED = replace(FOREST, kind=ModelFamily.GRADIENT_BOOSTING.value, min_samples_leaf=5)


def rows_with_rules(rows: int = 3_000, seed: int = 0) -> Dataset:
    """Return rows whose rules fire by chance: the model alone ranks better than any blend."""
    made, rng = dataset(rows, seed, fraud_share=0.1), np.random.default_rng(seed + 1)
    hits = np.zeros((rows, len(RULES)), dtype=np.bool_)
    hits[:, 0] = rng.random(rows) < 0.03
    features = made.features + rng.normal(0.0, 6.0, made.features.shape)  # the model does not separate them completely
    return replace(made, features=features, rule_hits=hits, rule_score=hits[:, 0] * 1.0)


def test_the_weight_with_the_best_average_precision_is_chosen() -> None:
    """The rules rank nothing here, so the weight of the model must be high enough to outweigh them."""
    rows = rows_with_rules()
    scores = 0.3 + 0.2 * (rows.labels == 1)
    chosen = best_blend(rows, scores, FOREST)
    assert chosen is not None
    assert chosen.alpha == 0.85, "0.85 * 0.2 > 0.15, the score of a rule with the remaining weight"
    assert (chosen.average_precision, chosen.frauds) == (1.0, (rows.labels == 1).sum())
    assert chosen.default_average_precision < 0.9


@pytest.mark.parametrize("parameters", [FOREST, BOOSTED])
def test_every_family_gets_a_blend(parameters: TrainingParameters) -> None:
    chosen = train_model(rows_with_rules(), parameters, PROVENANCE).manifest.blend
    assert chosen is not None
    assert chosen.average_precision >= chosen.default_average_precision
    assert chosen.frauds >= MIN_FRAUDS


def test_rows_that_measure_the_model_take_no_part() -> None:
    rows = rows_with_rules()
    _, late = split_by_time(rows, FOREST.train_fraction)
    is_late = rows.event_time_ms >= late.event_time_ms.min()
    other = replace(
        rows,
        labels=np.where(is_late, 1 - rows.labels, rows.labels).astype(np.int8),
        rule_score=np.where(is_late, 1.0 - rows.rule_score, rows.rule_score),
    )
    one, two = (train_model(each, FOREST, PROVENANCE).manifest for each in (rows, other))
    assert one.blend == two.blend is not None
    assert one.version == two.version
    assert one.metrics != two.metrics


def test_another_blend_is_another_version() -> None:
    rows = rows_with_rules()
    without = replace(rows, labels=np.full(len(rows), -1, dtype=np.int8))
    one, two = (train_model(each, FOREST, PROVENANCE).manifest for each in (rows, without))
    assert two.blend is None
    assert one.arrays_sha256 == two.arrays_sha256
    assert one.version != two.version


def choose_blend(early: Dataset, parameters: TrainingParameters) -> ChosenBlend | None:
    validated = validate(early, parameters)
    return None if validated is None else best_blend(*validated, parameters)


def test_equal_weights_keep_the_default_and_its_threshold() -> None:
    chosen = choose_blend(dataset(3_000, fraud_share=0.1), BOOSTED)  # no rule fires: every weight ranks alike
    assert chosen is not None
    assert (chosen.alpha, chosen.threshold) == (0.6, 0.4)
    assert chosen.average_precision == chosen.default_average_precision


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_too_few_labels_choose_nothing(share: float) -> None:
    rows = dataset(1_000, fraud_share=share)
    assert choose_blend(rows, FOREST) is None


def test_boosting_without_labels_before_the_validation_rows_chooses_nothing() -> None:
    rows = rows_with_rules()
    fit, _ = split_by_time(rows, 0.7)
    rows = replace(rows, labels=np.where(np.arange(len(rows)) < len(fit), -1, rows.labels).astype(np.int8))
    assert choose_blend(rows, BOOSTED) is None
    assert choose_blend(rows, FOREST) is not None


def test_the_threshold_keeps_the_number_of_alerts() -> None:
    rows = rows_with_rules()
    scores = np.clip(0.1 + 0.7 * (rows.labels == 1) + np.random.default_rng(1).normal(0.0, 0.1, len(rows)), 0.0, 1.0)
    chosen = best_blend(rows, scores, SMALL)
    assert chosen is not None
    usual = int((blended(scores, rows.rule_score, 0.6) >= 0.4).sum())
    mine = int((blended(scores, rows.rule_score, chosen.alpha) >= chosen.threshold).sum())
    assert 0 < mine <= usual < mine + 5


def test_the_threshold_keeps_the_budget() -> None:
    """Under an hour counts as one hour."""
    rows = rows_with_rules()
    chosen = best_blend(rows, rows.labels.astype(np.float64), replace(SMALL, alerts_per_day=24 * 50.0))
    assert chosen is not None
    assert chosen.threshold == 1.0, "more than 50 rows have the highest score"
    scores = np.linspace(0.0, 1.0, len(rows))
    chosen = best_blend(rows, scores, replace(SMALL, alerts_per_day=24 * 50.0))
    assert chosen is not None
    assert (blended(scores, rows.rule_score, chosen.alpha) >= chosen.threshold).sum() == 50


@pytest.mark.parametrize("config", [DetectionConfig(), DetectionConfig(alert_threshold=0.3, threshold_is_set=True),
                                    DetectionConfig(alpha=0.3, alpha_is_set=True)])  # fmt: skip
@pytest.mark.parametrize("own", [None, OwnBlend(0.9, 0.45), OwnBlend(0.5, 0.5)])
def test_all_rows_at_once_are_blended_as_the_job_blends_one(config: DetectionConfig, own: OwnBlend | None) -> None:
    rows = dataset(60)
    hits = np.random.default_rng(3).random((60, len(RULES))) < 0.3
    weights = np.array([config.rules[rule.id].weight for rule in RULES])
    rows = replace(rows, rule_hits=hits, rule_score=np.minimum(hits @ weights, 1.0))
    scores = np.linspace(0.0, 1.0, 60)
    together, threshold = blend_rows(rows, scores, config, own)
    for place in range(60):
        fired = tuple(RuleHit(rule.code, 0.5) for rule, hit in zip(RULES, hits[place], strict=True) if hit)
        verdict = RuleVerdict(float(rows.rule_score[place]), fired)
        one, limit = Blender(config).score(verdict, float(scores[place]), own)
        assert (one.score, limit) == (together[place], threshold)
    assert any(RULES[place].code is ReasonCode.BLACKLISTED for place in np.flatnonzero(hits.any(axis=0)))


def test_neither_side_of_the_blend_is_switched_off() -> None:
    assert min(GRID) > 0.0
    assert max(GRID) < 1.0
    assert 0.6 in GRID
