"""Control messages and models: applied, refused, repeated, restored, reported once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from flink_jobs.contracts import uids
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.operator import CONFIG_STATE
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Operator, Outputs, Runtime, lines
from tests.unit.job.samples import control, detector, record, transaction, write_model


def audit(outputs: Outputs) -> dict[str, Any]:
    """Return the only audit record, having checked its key."""
    ((key, value),) = lines(outputs.side["audit"])
    document: dict[str, Any] = orjson.loads(value)
    assert key == document["control_id"]
    return document


def letters(outputs: Outputs) -> list[tuple[str, str, str]]:
    """Return reason, stage and disposition of the dead letters."""
    found = [orjson.loads(value) for _, value in lines(outputs.side["dead-letters"])]
    return [(item["reason"], item["stage"], item["disposition"]) for item in found]


def decide(operator: Operator, name: str = "t-1") -> dict[str, Any]:
    """Return the decision on a new transaction."""
    ((_, value),) = lines(operator.send(record(transaction(name))).main)
    document: dict[str, Any] = orjson.loads(value)
    return document


def stored(operator: Operator) -> DetectionConfig:
    """Return the configuration that the next checkpoint would hold."""
    return DetectionConfig.from_json(operator.runtime.broadcast[CONFIG_STATE.name][uids.CONFIG_KEY])


def test_an_applied_message_holds_from_the_next_record_and_is_audited() -> None:
    operator = detector()

    outputs = operator.control(control({"alpha": 0.1, "alert_threshold": 0.9}))

    assert not outputs.main
    assert letters(outputs) == []
    told = audit(outputs)
    assert (told["outcome"], told["revision"], told["detail"], told["applied_at_ms"]) == ("applied", 1, "", NOW_MS)
    assert told["changes"] == {"alpha": 0.1, "alert_threshold": 0.9}
    decision = decide(operator)
    assert (decision["threshold"], decision["config_revision"]) == (0.9, 1)
    assert stored(operator).revision == operator.runtime.gauge("config_revision") == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (control({"alpha": 7}), "CONTROL_INVALID"),
        (control({"alpha": 0.1}, expected_revision=5), "CONTROL_REVISION_CONFLICT"),
        (control({}), "CONTROL_INVALID"),
    ],
)
def test_a_refused_message_is_a_dead_letter_and_changes_nothing(message: SourceRecord, reason: str) -> None:
    operator = detector()

    outputs = operator.control(message)

    assert letters(outputs) == [(reason, "control", "incident")]
    told = audit(outputs)
    assert (told["outcome"], told["revision"], told["control_id"]) == ("rejected", 0, "ctl-1")
    assert told["detail"]
    assert not operator.runtime.broadcast[CONFIG_STATE.name]
    assert decide(operator)["config_revision"] == 0
    assert operator.runtime.count("dead_letters", reason=reason) == 1
    assert operator.runtime.count("control_messages", outcome="rejected") == 1


def test_bytes_that_name_no_id_are_audited_under_their_coordinates() -> None:
    operator = detector()

    told = audit(operator.control(control(None, offset=9)._replace(payload=b"\xff")))

    assert (told["control_id"], told["outcome"]) == ("streamflow.control-0-9", "rejected")


def test_a_repeated_message_changes_nothing_and_is_audited_as_repeated() -> None:
    operator = detector()
    operator.control(control({"alert_threshold": 0.1}))

    outputs = operator.control(control({"alert_threshold": 0.2}, offset=1))

    assert (audit(outputs)["outcome"], audit(outputs)["revision"]) == ("duplicate", 1)
    assert letters(outputs) == []
    assert stored(operator).alert_threshold == decide(operator)["threshold"] == 0.1


def test_every_subtask_applies_and_only_the_first_reports() -> None:
    subtasks = [detector(runtime=Runtime(subtask=number, parallelism=3)) for number in range(3)]

    reports = [bool(operator.control(control({"alert_threshold": 0.1}))) for operator in subtasks]

    assert reports == [True, False, False]
    assert [decide(operator)["threshold"] for operator in subtasks] == [0.1, 0.1, 0.1]
    assert [operator.runtime.count("control_messages", outcome="applied") for operator in subtasks] == [1, 0, 0]


def test_a_restored_configuration_holds_from_the_first_record(tmp_path: Path) -> None:
    write_model(tmp_path, "v1")
    write_model(tmp_path, "v2")
    before = detector(tmp_path, "v1")
    before.control(control({"alpha": 0.1, "model_version": "v2"}))

    after = detector(tmp_path, "v1", Runtime(broadcast=before.runtime.broadcast, attempt=1))

    decision = decide(after)
    assert (decision["alpha"], decision["model_version"], decision["config_revision"]) == (0.1, "v2", 1)
    assert after.runtime.gauge("config_revision") == 1, "the gauge knows it without a new message"


def test_a_message_before_the_first_record_builds_on_the_restored_configuration() -> None:
    before = detector()
    before.control(control({"rules": {"velocity": {"weight": 0.1}}}))

    after = detector(runtime=Runtime(broadcast=before.runtime.broadcast))
    refused = after.control(control({"alpha": 9}, "ctl-2", 1))
    applied = after.control(control({"alert_threshold": 0.7}, "ctl-3", 2))

    assert (audit(refused)["revision"], audit(applied)["revision"]) == (1, 2)
    assert decide(after)["threshold"] == 0.7
    assert stored(after).rules["velocity"].weight == 0.1


def test_a_model_is_exchanged_while_the_job_runs(tmp_path: Path) -> None:
    write_model(tmp_path, "v1")
    write_model(tmp_path, "v2")
    operator = detector(tmp_path, "v1")
    assert (decide(operator)["model"], decide(operator, "t-2")["model_version"]) == ("ok", "v1")

    outputs = operator.control(control({"model_version": "v2"}))

    assert (letters(outputs), audit(outputs)["outcome"]) == ([], "applied")
    assert decide(operator, "t-3")["model_version"] == "v2"


def _damage(folder: Path) -> None:
    path = folder / "model.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("fault", ["missing", "corrupt", "truncated", "other_features"])
def test_a_model_that_cannot_be_served_is_reported_and_rules_go_on(tmp_path: Path, fault: str) -> None:
    write_model(tmp_path, "v1")
    if fault != "missing":
        folder = write_model(tmp_path, "v2", ("a", "b") if fault == "other_features" else FEATURE_NAMES)
    if fault == "corrupt":
        _damage(folder)
    if fault == "truncated":
        (folder / "model.npz").write_bytes((folder / "model.npz").read_bytes()[:200])
    operator = detector(tmp_path, "v1")

    outputs = operator.control(control({"model_version": "v2"}))

    assert letters(outputs) == [("MODEL_UNAVAILABLE", "model", "incident")]
    told = audit(outputs)
    assert told["outcome"] == "applied"
    assert told["detail"], "the audit says that the message took effect without its model"
    decision = decide(operator)
    assert (decision["model"], decision["model_version"], decision["ml_score"]) == ("degraded", None, None)
    assert operator.runtime.count("model_faults") == 1
    assert operator.runtime.count("dead_letters", reason="MODEL_UNAVAILABLE") == 1
    back = operator.control(control({"model_version": "v1"}, "ctl-2", 1))
    assert letters(back) == []
    assert decide(operator, "t-2")["model"] == "ok"


@pytest.mark.parametrize("version", [None, "v1"])
def test_a_job_that_starts_without_its_model_says_so_once_and_decides_by_rules(
    tmp_path: Path, version: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    operator = detector(tmp_path, version)

    decisions = [decide(operator, f"t-{number}") for number in range(3)]

    assert {item["model"] for item in decisions} == {"degraded"}
    assert all(item["score"] == item["rule_score"] for item in decisions)
    told = [orjson.loads(line.message) for line in caplog.records if "model_unavailable" in line.message]
    assert [(item["version"], item["scoring"]) for item in told] == [(version, "rules alone")]
    assert told[0]["detail"]
    assert operator.runtime.count("model_faults") == 1


def test_logs_hold_no_card_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    operator = detector()
    operator.control(control({"blacklist": {"customer": {"add": ["c-secret"]}}}))
    operator.send(record(transaction("t-secret", "c-secret", merchant="m-secret")))
    operator.send(record(b'{"customer_id": "c-secret"'))

    assert any("detector_open" in line.message for line in caplog.records)
    assert not [line.message for line in caplog.records if "secret" in line.message]
