"""The rules: YAML cases that an analyst can add to, and what holds of the table as a whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.table import FEATURE_NAMES, FEATURES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.reasons import ACCOUNT_REASONS, ReasonCode
from flink_jobs.core.rules import DEFAULT_RULE_SETTINGS, RULE_BY_ID, RULES, FraudRuleEvaluator
from tests.strategies import configs

CASES_DIR = Path(__file__).parent / "rule_cases"
KINDS = ("pass", "fail", "boundary")
NOTHING = FeatureVector(None, None, None, None, None, None)


def load(rule_id: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CASES_DIR / f"{rule_id}.yaml").read_text(encoding="utf-8"))
    return document


def all_cases() -> list[Any]:
    cases = []
    for path in sorted(CASES_DIR.glob("*.yaml")):
        document = load(path.stem)
        for kind in KINDS:
            for case in document.get(kind) or []:
                name = f"{path.stem}-{kind}-{case['name']}".replace(" ", "_")
                cases.append(pytest.param(path.stem, kind, case, id=name))
    return cases


@pytest.mark.parametrize("rule_id", [rule.id for rule in RULES])
def test_every_rule_has_cases_of_every_kind(rule_id: str) -> None:
    document = load(rule_id)
    assert document["rule"] == rule_id
    assert document["feature"] == RULE_BY_ID[rule_id].feature
    assert set(document) == {"rule", "feature", *KINDS}
    for kind in KINDS:
        assert document[kind], f"{rule_id}.yaml has no {kind} case"
    assert {case["fires"] for case in document["boundary"]} == {True, False}


def test_every_file_is_of_a_rule() -> None:
    files = {path.stem for path in CASES_DIR.glob("*.yaml")}
    assert files == set(RULE_BY_ID)


@pytest.mark.parametrize(("rule_id", "kind", "case"), all_cases())
def test_case(rule_id: str, kind: str, case: dict[str, Any]) -> None:
    assert set(case) <= {"name", "features", "settings", "fires"}
    assert ("fires" in case) is (kind == "boundary")
    assert set(case["features"]) <= set(FEATURE_NAMES)
    setting = replace(DEFAULT_RULE_SETTINGS[rule_id], **case.get("settings", {}))
    evaluator = FraudRuleEvaluator({**DEFAULT_RULE_SETTINGS, rule_id: setting})
    verdict = evaluator.evaluate(NOTHING._replace(**case["features"]))
    fired = RULE_BY_ID[rule_id].code in [hit.code for hit in verdict.hits]
    assert fired is case.get("fires", kind == "fail")
    if fired:
        assert verdict.score == setting.weight


def test_the_table_is_sound() -> None:
    assert len(RULES) == len(RULE_BY_ID) == 5
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(ReasonCode) - {ReasonCode.MODEL_ANOMALY} - ACCOUNT_REASONS
    ranges = {spec.name: spec for spec in FEATURES}
    for rule in RULES:
        assert ranges[rule.feature].low < rule.threshold <= ranges[rule.feature].high
        assert 0.0 < rule.weight <= 1.0
        assert rule.rationale.endswith(".")


def test_absent_features_fire_nothing() -> None:
    zero = {rule.id: replace(DEFAULT_RULE_SETTINGS[rule.id], threshold=0.0) for rule in RULES}
    verdict = FraudRuleEvaluator(zero).evaluate(NOTHING)
    assert (verdict.score, verdict.hits) == (0.0, ())


def test_everything_at_once_is_capped_and_in_the_order_of_the_table() -> None:
    verdict = FraudRuleEvaluator().evaluate(FeatureVector(100.0, 33.0, 1.0, 10_000.0, 1.0, 1_000.0))
    assert verdict.score == 1.0
    assert [hit.code for hit in verdict.hits] == [rule.code for rule in RULES]
    assert sum(hit.weight for hit in verdict.hits) > 1.0


vectors = st.builds(
    FeatureVector,
    *[st.none() | st.floats(spec.low, spec.high) for spec in FEATURES],
)


@given(vectors, configs)
def test_the_score_is_the_capped_sum_of_what_fired(features: FeatureVector, config: DetectionConfig) -> None:
    verdict = FraudRuleEvaluator(config.rules).evaluate(features)
    expected = []
    for rule in RULES:
        setting, value = config.rules[rule.id], getattr(features, rule.feature)
        if setting.enabled and setting.weight > 0 and value is not None and value >= setting.threshold:
            expected.append((rule.code, setting.weight))
    assert [tuple(hit) for hit in verdict.hits] == expected
    assert verdict.score == min(1.0, sum(weight for _, weight in expected))
