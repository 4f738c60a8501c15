"""The blend: range, contributions, order, and the score without a model."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RULES, RuleHit, RuleVerdict
from flink_jobs.core.scoring import (
    DEFAULT,
    MODEL_REASON_FLOOR,
    OWN,
    SET,
    Blender,
    BlendInForce,
    Contribution,
    OwnBlend,
    Score,
    blend,
    blend_in_force,
)
from tests.strategies import ratios

HIGH, FAST = RuleHit(ReasonCode.HIGH_AMOUNT, 0.5), RuleHit(ReasonCode.HIGH_VELOCITY, 0.35)
NOTHING = RuleVerdict(0.0, ())


@st.composite
def verdicts(draw: st.DrawFn) -> RuleVerdict:
    weights = draw(st.lists(st.floats(1e-6, 1.0), max_size=len(RULES)))
    hits = tuple(RuleHit(rule.code, weight) for rule, weight in zip(RULES, weights, strict=False))
    return RuleVerdict(min(1.0, sum(weights)), hits)


def test_an_ordinary_transaction_has_no_reasons() -> None:
    assert blend(NOTHING, 0.4, 0.5) == Score(0.2, 0.5, ())


def test_without_a_model_the_rules_stand_alone() -> None:
    score = blend(RuleVerdict(0.85, (HIGH, FAST)), None, 0.4)
    assert score.score == 0.85
    assert score.alpha == 0.0
    assert [reason.code for reason in score.reasons] == [ReasonCode.HIGH_AMOUNT, ReasonCode.HIGH_VELOCITY]
    assert sum(reason.contribution for reason in score.reasons) == pytest.approx(0.85)


@pytest.mark.parametrize(("ml_score", "is_named"), [(MODEL_REASON_FLOOR, True), (0.5999999, False), (1.0, True)])
def test_the_model_is_a_reason_from_its_floor_on(ml_score: float, *, is_named: bool) -> None:
    codes = [reason.code for reason in blend(NOTHING, ml_score, 0.4).reasons]
    assert codes == ([ReasonCode.MODEL_ANOMALY] if is_named else [])


def test_a_model_of_no_weight_is_no_reason() -> None:
    assert blend(NOTHING, 1.0, 0.0) == Score(0.0, 0.0, ())


def test_the_model_alone() -> None:
    score = blend(RuleVerdict(0.5, (HIGH,)), 0.9, 1.0)
    assert score.score == 0.9
    assert score.reasons == (
        Contribution(ReasonCode.MODEL_ANOMALY, 0.9),
        Contribution(ReasonCode.HIGH_AMOUNT, 0.0),
    )


def test_ties_keep_the_order_of_the_table() -> None:
    verdict = RuleVerdict(0.6, (RuleHit(ReasonCode.HIGH_VELOCITY, 0.3), RuleHit(ReasonCode.UNUSUAL_TIME, 0.3)))
    score = blend(verdict, 0.6, 0.5)  # the model adds 0.3 too, the rules 0.15 each
    assert [reason.code for reason in score.reasons] == [
        ReasonCode.MODEL_ANOMALY,
        ReasonCode.HIGH_VELOCITY,
        ReasonCode.UNUSUAL_TIME,
    ]


@given(verdicts(), st.none() | ratios, ratios)
def test_the_score_and_its_contributions(verdict: RuleVerdict, ml_score: float | None, alpha: float) -> None:
    score = blend(verdict, ml_score, alpha)
    assert 0.0 <= score.score <= 1.0
    model_part = 0.0 if ml_score is None else alpha * ml_score
    rule_part = (1.0 - score.alpha) * verdict.score
    assert score.score == pytest.approx(model_part + rule_part)
    contributions = [reason.contribution for reason in score.reasons]
    assert contributions == sorted(contributions, reverse=True)
    assert all(0.0 <= contribution <= 1.0 for contribution in contributions)
    rules = [reason for reason in score.reasons if reason.code is not ReasonCode.MODEL_ANOMALY]
    assert sum(reason.contribution for reason in rules) == pytest.approx(rule_part, abs=1e-12)
    assert {reason.code for reason in rules} == {hit.code for hit in verdict.hits}


@given(verdicts(), ratios, ratios)
def test_all_contributions_add_up_to_the_score_when_the_model_is_named(
    verdict: RuleVerdict, ml_score: float, alpha: float
) -> None:
    assume(alpha > 0.0 and ml_score >= MODEL_REASON_FLOOR)
    score = blend(verdict, ml_score, alpha)
    assert sum(reason.contribution for reason in score.reasons) == pytest.approx(score.score, abs=1e-12)


@given(verdicts(), ratios, ratios, ratios)
def test_a_higher_model_score_never_lowers_the_score(
    verdict: RuleVerdict, alpha: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert blend(verdict, low, alpha).score <= blend(verdict, high, alpha).score


MINE = OwnBlend(0.9, 0.7)


@pytest.mark.parametrize(
    ("config", "own", "expected"),
    [
        (DetectionConfig(), None, BlendInForce(0.6, DEFAULT, 0.4, DEFAULT)),
        (DetectionConfig(), MINE, BlendInForce(0.9, OWN, 0.7, OWN)),
        (DetectionConfig(alpha_is_set=True), MINE, BlendInForce(0.6, SET, 0.4, DEFAULT)),
        (DetectionConfig(alpha=0.2, alpha_is_set=True), MINE, BlendInForce(0.2, SET, 0.4, DEFAULT)),
        (DetectionConfig(alert_threshold=0.5, threshold_is_set=True), MINE, BlendInForce(0.9, OWN, 0.5, SET)),
        (DetectionConfig(alert_threshold=0.5, threshold_is_set=True), None, BlendInForce(0.6, DEFAULT, 0.5, SET)),
    ],
)
def test_a_control_message_goes_before_the_model_and_the_model_before_the_default(
    config: DetectionConfig, own: OwnBlend | None, expected: BlendInForce
) -> None:
    assert blend_in_force(config, own) == expected
    score, threshold = Blender(config).score(RuleVerdict(0.5, (HIGH,)), 0.3, own)
    assert (score, threshold) == (blend(RuleVerdict(0.5, (HIGH,)), 0.3, expected.alpha), expected.threshold)


def test_rules_alone_are_judged_by_the_threshold_of_the_configuration() -> None:
    score, threshold = Blender(DetectionConfig()).score(RuleVerdict(0.5, (HIGH,)), None, MINE)
    assert (score.score, score.alpha, threshold) == (0.5, 0.0, 0.4)


@given(alpha=ratios, threshold=ratios, ml_score=ratios, is_set=st.booleans())
def test_a_listed_customer_is_an_alert_under_every_blend_of_a_model(
    alpha: float, threshold: float, ml_score: float, *, is_set: bool
) -> None:
    config = DetectionConfig(alert_threshold=threshold, threshold_is_set=is_set)
    listed = RuleVerdict(1.0, (RuleHit(ReasonCode.BLACKLISTED, 1.0),))
    score, limit = Blender(config).score(listed, ml_score, OwnBlend(alpha, threshold))
    assert 1.0 >= score.score >= limit == threshold
    assert score.alpha <= alpha
