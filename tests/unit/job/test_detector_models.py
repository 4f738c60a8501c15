"""Shadow, challenger and models that fail, through the operator: outputs, metrics, logs, what a savepoint keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import orjson
import pytest

from flink_jobs.core.models.model import ModelError, ModelFault
from flink_jobs.core.models.slot import FAULT_LIMIT
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.operator import FraudDetectorFunction
from tests.unit.core.evaluation import FixedModel
from tests.unit.job.fake_runtime import Operator, Runtime, lines
from tests.unit.job.samples import CONTROL_TOPIC, control, record, settings, transaction

DIGEST = "ab" * 32
ANSWERS = {"quiet": 0.1, "loud": 0.9, "broken": math.nan}
GUARD = {"min_decisions": 20, "max_alert_rate_ratio": 2, "min_alert_rate_ratio": 0.5, "max_error_share": 0.1}
TRIAL = {"id": "spring", "version": "loud", "digest": DIGEST, "share": 0.5, "guard": GUARD}
V2 = {"schema_version": 2}


def find(_folder: str, _store: str | None, version: str, _digest: str | None) -> FixedModel:
    if version not in ANSWERS:
        raise ModelError(ModelFault.MISSING, f"no {version}")
    model = FixedModel(ANSWERS[version])
    model.version = version
    return model


def detector(runtime: Runtime | None = None) -> Operator:
    return Operator(FraudDetectorFunction(replace(settings(model_version="quiet"), find_model=find)), runtime)


def decide(operator: Operator, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Decide transactions of as many customers."""
    return [
        orjson.loads(value)
        for number in range(first, first + count)
        for _, value in lines(operator.send(record(transaction(f"t-{number}", f"c-{number}"))).main)
    ]


def tell(operator: Operator, changes: dict[str, Any], control_id: str = "ctl-1") -> dict[str, Any]:
    ((_, value),) = lines(operator.control(control(changes, control_id, **V2)).side["audit"])
    document: dict[str, Any] = orjson.loads(value)
    return document


def test_a_shadow_and_an_experiment_survive_a_restart_with_the_first_record() -> None:
    before = detector()
    tell(before, {"alpha": 1.0, "shadow_model": {"version": "loud", "digest": DIGEST}, "experiment": TRIAL})

    after = detector(Runtime(broadcast=before.runtime.broadcast, attempt=1))
    decided = decide(after, 40)

    assert {item["shadow"]["model_version"] for item in decided} == {"loud"}
    assert {(item["variant"], item["model_version"]) for item in decided} == {
        ("champion", "quiet"),
        ("challenger", "loud"),
    }


def test_a_shadow_that_cannot_be_loaded_is_told_and_not_used() -> None:
    operator = detector()
    told = tell(operator, {"shadow_model": {"version": "gone", "digest": DIGEST}})
    assert told["detail"] == "missing: no gone"
    (decision,) = decide(operator, 1)
    assert (decision["model"], decision["shadow"]) == ("ok", None)
    assert operator.runtime.count("model_faults") == 1


def test_the_guard_tells_every_subtask_and_the_second_time_is_a_repeat() -> None:
    subtasks = [detector(Runtime(subtask=number, parallelism=2)) for number in range(2)]
    for operator in subtasks:
        operator.control(control({"alpha": 1.0, "experiment": TRIAL}, "ctl-1", **V2))

    messages = []
    for operator in subtasks:
        told = [
            line
            for number in range(200)
            for line in operator.send(record(transaction(f"t-{number}", f"c-{number}"))).side["control"]
        ]
        ((key, value),) = lines(told)
        assert key == "guard-spring"
        messages.append(value)
        assert operator.runtime.count("experiment_stops") == 1
    assert messages[0] == messages[1], "one message, whoever says it"

    outcomes = []
    for offset, value in enumerate(messages, start=1):
        back = SourceRecord(value.encode(), 0, offset, "", "", "", CONTROL_TOPIC)
        for operator in subtasks:
            outcomes += [orjson.loads(text)["outcome"] for _, text in lines(operator.control(back).side["audit"])]
    assert outcomes == ["applied", "duplicate"], "the first subtask reports"
    assert {item["variant"] for operator in subtasks for item in decide(operator, 40, 1_000)} == {"champion"}


def test_a_model_that_was_cut_off_comes_back_only_by_name(caplog: pytest.LogCaptureFixture) -> None:
    operator = detector()
    tell(operator, {"model_version": "broken"})
    assert {item["model"] for item in decide(operator, FAULT_LIMIT + 1)} == {"degraded"}
    assert operator.runtime.count("model_cut_offs", role="champion") == 1
    assert operator.runtime.count("model_faults") == FAULT_LIMIT
    told = [orjson.loads(line.message) for line in caplog.records if "model_cut_off" in line.message]
    assert [(item["role"], item["version"], item["fault"]) for item in told] == [("champion", "broken", "bad_score")]

    tell(operator, {"alpha": 0.3}, "ctl-2")
    assert decide(operator, 1, 100)[0]["model"] == "degraded"
    tell(operator, {"model_version": "quiet"}, "ctl-3")
    assert decide(operator, 1, 200)[0]["model_version"] == "quiet"


def test_trials_are_counted() -> None:
    operator = detector()
    tell(operator, {"alpha": 1.0, "shadow_model": {"version": "loud", "digest": DIGEST}, "experiment": TRIAL})
    decided = decide(operator, 30)
    operator.fire_timers()

    trials = [item for item in decided if item["variant"] == "challenger"]
    assert trials
    assert operator.runtime.count("challenger_decisions") == operator.runtime.count("challenger_alerts") == len(trials)
    assert operator.runtime.count("shadow_decisions") == operator.runtime.count("shadow_alerts") == 30
