"""Own features in the detector: scores equal the replay, faults are counted, and another version is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.core.own_features.source import FeatureSource
from flink_jobs.job.detector.operator import FraudDetectorFunction
from tests.own_features import EXAMPLE
from tests.own_features.example_model import SOURCE, Trained, train_example
from tests.unit.job.fake_runtime import Operator, lines
from tests.unit.job.samples import control, record, settings, transaction

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = """
from flink_jobs.core.own_features import feature

@feature(unit="u", low=0, high=10, neutral=1, absent="never", meaning="m")
def broken(customer, transaction):
    return 1 / customer.transactions

@feature(unit="u", low=0, high=10, neutral=1, absent="never", meaning="m")
def wide(customer, transaction):
    return 11
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_example(tmp_path_factory.mktemp("models"))


def detector(*sources: FeatureSource, folder: Path | str = "/nowhere", version: str | None = None) -> Operator:
    chosen = replace(settings(folder, version), own_features=sources, model_budget_ms=10_000)
    return Operator(FraudDetectorFunction(chosen))


def decided(operator: Operator, payload: dict[str, Any]) -> dict[str, Any] | None:
    lines = operator.send(record(payload)).main
    return orjson.loads(lines[0].partition("\n")[2]) if lines else None


def test_the_stream_scores_as_the_replay_does(trained: Trained) -> None:
    operator = detector(SOURCE, folder=trained.folder, version=trained.version)
    found = [decided(operator, event.transaction) for event in trained.events]
    scores = {item["transaction_id"]: item["ml_score"] for item in found if item is not None}
    assert scores == trained.scores()
    assert len(set(scores.values())) > 20
    assert operator.runtime.count("model_faults") == 0


def test_faults_are_counted_by_kind_and_lose_no_transaction() -> None:
    operator = detector(FeatureSource("bank", BROKEN))
    for number in range(3):
        decision = decided(operator, transaction(f"t-{number}"))
        assert decision is not None
        assert decision["absent"]["own_wide"] == "value_invalid"
    operator.function._metrics.flush(0)
    assert operator.runtime.count("own_feature_faults", fault="function_raised") == 1
    assert operator.runtime.count("own_feature_faults", fault="value_invalid") == 3


@pytest.mark.parametrize(
    "sources", [(), (FeatureSource(EXAMPLE, SOURCE.text + "\n"),)], ids=["none", "another version"]
)
def test_a_model_without_its_module_is_reported_and_rules_score_alone(
    trained: Trained, sources: tuple[FeatureSource, ...]
) -> None:
    operator = detector(*sources, folder=trained.folder)
    ((_, audit),) = lines(operator.control(control({"model_version": trained.version})).side["audit"])
    assert f"own_new_category of {EXAMPLE}" in orjson.loads(audit)["detail"]
    assert operator.runtime.count("model_faults") == 2, "none at the start, and this one"
    decision = decided(operator, transaction("t-1"))
    assert decision is not None
    assert decision["model"] == "degraded"
