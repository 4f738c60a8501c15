"""What the detector really writes keeps to the contracts: planted faults, honest traffic, control messages."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.control.messages import ControlRefusal, parse_control
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage, ReasonCode
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.core.transaction import Transaction
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.simulate import SimulationPlan, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.contracts.topic_contracts import CounterExample, Example, TopicContract

NOW_MS = 1_767_225_600_000
CONTROL = load_contracts()["control"]


class SomeModel:
    """A model that finds everything somewhat odd."""

    version, digest, kind, base, own_blend, probability = "if-1", "d" * 64, "fixed", 0.5, None, None

    @staticmethod
    def score(features: FeatureVector, transaction: Transaction) -> float:  # noqa: ARG004
        return 0.6

    @staticmethod
    def contributions(features: FeatureVector, transaction: Transaction) -> dict[str, float]:  # noqa: ARG004
        return {"amount_ratio": 0.1}


@pytest.mark.parametrize("model", [None, SomeModel()], ids=["degraded", "with a model"])
def test_everything_the_evaluator_writes_is_valid(
    model: SomeModel | None, problems: Callable[[str, object], list[str]]
) -> None:
    evaluator, states, written = TransactionEvaluator(model=model), dict[str, bytes](), dict[str, int]()
    events = itertools.islice(simulate(SimulationPlan(customers=30, seed=3, fraud_rate=0.1)), 1_500)
    for offset, record in enumerate(with_faults(events, FaultPlan(malformed=0.2, duplicates=0.1, late=0.1))):
        key = record.key.decode()
        source = SourceRecord(
            record.value, 0, offset, "2026-01-01 00:00:00.000", '{"trace":"YWJj"}', key, "streamflow.transactions"
        )
        outcome = evaluator.evaluate(source, lambda key=key: states.get(key), NOW_MS)  # type: ignore[misc]
        if outcome.state is not None:
            states[key] = outcome.state
        letters = [("dlq", letter.body) for letter in outcome.letters]
        for suffix, text in [("decisions", outcome.decision), ("alerts", outcome.alert), *letters]:
            if text is not None:
                written[suffix] = written.get(suffix, 0) + 1
                assert problems(suffix, json.loads(text)) == []
    assert set(written) == {"decisions", "alerts", "dlq"}


@pytest.mark.parametrize("example", CONTROL.examples, ids=lambda example: example.name)
def test_the_job_takes_every_control_example(example: Example) -> None:
    answer = parse_control(orjson.dumps(dict(example.document)))
    assert not isinstance(answer, ControlRefusal)


@pytest.mark.parametrize("counter", CONTROL.counter_examples, ids=lambda counter: counter.name)
def test_the_job_refuses_every_control_counter_example(counter: CounterExample) -> None:
    assert isinstance(parse_control(counter.payload), ControlRefusal)


def test_the_schemas_know_the_words_of_the_core(contracts: dict[str, TopicContract]) -> None:
    dlq = contracts["dlq"].schema()["properties"]
    assert dlq["stage"]["enum"] == [stage.value for stage in PipelineStage]
    assert dlq["disposition"]["enum"] == [disposition.value for disposition in Disposition]
    rules = contracts["control"].schema()["properties"]["changes"]["properties"]["rules"]
    assert rules["propertyNames"]["enum"] == list(RULE_BY_ID)
    features = contracts["decisions"].schema()["properties"]["features"]
    assert set(features["required"]) <= set(FEATURE_NAMES), "further features may come, these stay"


def test_reasons_fit_the_schemas(
    problems: Callable[[str, object], list[str]], contracts: dict[str, TopicContract]
) -> None:
    letter = dict(contracts["dlq"].examples[-1].document)
    for reason in DeadLetterReason:
        assert problems("dlq", {**letter, "reason": reason.value}) == []
    decision = dict(contracts["decisions"].examples[0].document)
    for code in ReasonCode:
        assert problems("decisions", {**decision, "reasons": [{"code": code.value, "contribution": 0.1}]}) == []
