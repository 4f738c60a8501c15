"""The probability of fraud: numpy is the oracle; a decision has it exactly where the curve fits its score."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.models.chosen_calibration import MAX_POINTS, ChosenCalibration, parse_calibration
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.probability import ProbabilityCurve
from flink_jobs.core.replies import ReplyRequest, answer
from flink_jobs.core.scoring import OwnBlend
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.evaluation import FixedModel, Stream, parts
from tests.unit.core.test_evaluator import document

UNIT = st.floats(0.0, 1.0)
CURVES = st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=MAX_POINTS, unique_by=lambda point: point[0]).map(
    lambda points: (sorted(x for x, _ in points), sorted(p for _, p in points))
)


@given(CURVES, st.lists(UNIT, min_size=2, max_size=20))
def test_the_curve_is_that_of_numpy_and_never_falls(
    curve: tuple[list[float], list[float]], scores: list[float]
) -> None:
    xs, ps = curve
    assume(all(b - a > 1e-12 for a, b in pairwise(xs)))  # else the slope has no digits
    curve_of = ProbabilityCurve(0.6, xs, ps)
    found = [curve_of.at(score) for score in sorted(scores)]
    np.testing.assert_allclose(found, np.interp(sorted(scores), xs, ps), rtol=1e-9, atol=1e-12)
    assert found == sorted(found)
    assert all(ps[0] <= probability <= ps[-1] for probability in found)
    assert [curve_of.at(x) for x in xs] == ps


def model(alpha: float = 0.6, own: OwnBlend | None = None) -> FixedModel:
    made = FixedModel(0.9)
    made.own_blend = own
    made.probability = ProbabilityCurve(alpha, [0.0, 1.0], [0.001, 0.501])
    return made


@given(st.integers(0, 10**12))
def test_a_decision_its_alert_and_its_reply_have_the_probability_of_the_score(amount_minor: int) -> None:
    record = record_of(wire(document() | {"amount_minor": amount_minor}))
    outcome = Stream(TransactionEvaluator(model=model())).send(record)
    decision, alert, _ = parts(outcome)
    assert decision is not None
    probability = decision["fraud_probability"]
    assert (decision["schema_version"], probability) == (5, pytest.approx(0.001 + 0.5 * decision["score"], abs=1e-15))
    assert abs(decision["expected_loss_minor"] - amount_minor * probability) <= 0.5 + 1e-3
    assert alert is not None, "0.6 * 0.9 is above the threshold"
    assert (alert["schema_version"], alert["fraud_probability"]) == (3, probability)
    assert alert["expected_loss_minor"] == decision["expected_loss_minor"]
    reply = answer(ReplyRequest("r-1", "r-1"), record, outcome, NOW_MS)
    assert reply is not None
    body = orjson.loads(reply.body)
    assert (body["schema_version"], body["fraud_probability"]) == (3, probability)


def test_the_reply_to_a_decision_without_an_alert_has_its_probability_only() -> None:
    record, calm = record_of(wire(document())), model()
    calm.answer = 0.1
    outcome = Stream(TransactionEvaluator(model=calm)).send(record)
    assert outcome.alert is None
    reply = answer(ReplyRequest("r-1", "r-1"), record, outcome, NOW_MS)
    assert reply is not None
    body = orjson.loads(reply.body)
    assert body["schema_version"] == 2
    assert body.keys() & {"contributions", "reason_contributions"} == set()


@pytest.mark.parametrize(
    ("config", "answers", "alpha"),
    [
        (DetectionConfig(alpha=0.3, alpha_is_set=True), 0.9, 0.6),
        (DetectionConfig(), RuntimeError("no score"), 0.6),
        (DetectionConfig(), 0.9, 0.95),
    ],
)
def test_a_score_that_the_curve_does_not_fit_changes_nothing(
    config: DetectionConfig, answers: float | Exception, alpha: float
) -> None:
    with_curve, plain = FixedModel(answers), FixedModel(answers)
    with_curve.probability = model(alpha).probability
    record = record_of(wire(document()))
    one, two = (Stream(TransactionEvaluator(config, each)).send(record) for each in (with_curve, plain))
    assert (one.decision, one.alert) == (two.decision, two.alert)
    assert one.decision is not None
    assert b"fraud_probability" not in one.decision.encode()


def test_the_score_its_threshold_and_its_reasons_do_not_depend_on_the_curve() -> None:
    record, own = record_of(wire(document())), OwnBlend(0.6, 0.5)
    plain = FixedModel(0.9)
    plain.own_blend = own
    one, _, _ = parts(Stream(TransactionEvaluator(model=model(own=own))).send(record))
    two, _, _ = parts(Stream(TransactionEvaluator(model=plain)).send(record))
    assert one is not None
    assert two is not None
    assert {name: one[name] for name in two.keys() - {"schema_version"}} == {
        name: two[name] for name in two.keys() - {"schema_version"}
    }
    assert one.keys() - two.keys() == {"fraud_probability", "expected_loss_minor"}


GOOD: dict[str, Any] = {
    "alpha": 0.6, "scores": [0.1, 0.5], "probabilities": [0.01, 0.7], "rows": 900, "frauds": 30,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.0}, {"alpha": 1.5}, {"alpha": None}, {"alpha": True}, {"more": 1}, {"scores": [0.5, 0.1]},
        {"scores": [0.1, 0.1]}, {"scores": [0.1]}, {"scores": []}, {"scores": "0.1"}, {"scores": [0.1, "0.5"]},
        {"scores": [-0.1, 0.5]}, {"probabilities": [0.7, 0.01]}, {"probabilities": [0.01, 1.7]},
        {"probabilities": [float("nan"), 0.7]}, {"scores": [0.1, float("inf")]},
        {"scores": [n / 100 for n in range(65)], "probabilities": [0.5] * 65},
    ],
)  # fmt: skip
def test_an_invalid_calibration_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as refused:
        parse_calibration(GOOD | change)
    assert refused.value.reason is ModelFault.BAD_MANIFEST


def test_a_calibration_is_parsed() -> None:
    assert parse_calibration(None) is None
    assert parse_calibration(GOOD) == ChosenCalibration(0.6, (0.1, 0.5), (0.01, 0.7), 900.0, 30.0)
    without_rows = {name: value for name, value in GOOD.items() if name != "rows"}
    wrong: list[object] = [[], "", 0, without_rows]
    for broken in wrong:
        with pytest.raises(ModelError):
            parse_calibration(broken)
