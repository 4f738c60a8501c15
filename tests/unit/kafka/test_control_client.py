from __future__ import annotations

from typing import Any, cast

import orjson
import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import AuditDocument, ControlChanges, ControlDocument
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import build_message, config_of, encode_checked

NOW_MS = 1_767_225_600_000


def message(**changes: object) -> ControlDocument:
    known = cast("ControlChanges", changes)
    return build_message(known, issued_by="ada", reason="test", expected_revision=None, now_ms=NOW_MS)


def audit(revision: int, outcome: str = "applied", **changes: object) -> AuditDocument:
    fields = {"revision": revision, "outcome": outcome, "detail": "", "applied_at_ms": NOW_MS}
    return cast("AuditDocument", {**message(**changes), **fields})


def test_a_built_message_is_what_the_detector_accepts() -> None:
    built = message(alpha=0.7)
    assert orjson.loads(encode_checked(built)) == built
    assert message(alpha=0.7)["control_id"] != built["control_id"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "changes is empty"),
        ({"alpha": 1.5}, "changes.alpha"),
        ({"rules": {"speeding": {"enabled": False}}}, "speeding"),
        ({"blacklist": {"colour": {"add": ["red"]}}}, "colour"),
        ({"model_version": "../../etc"}, "changes.model_version"),
    ],
)
def test_an_invalid_message_is_refused_before_it_is_sent(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=f"(?s){why}.*nothing was sent"):
        encode_checked(message(**changes))


def test_the_configuration_is_what_was_applied_in_order() -> None:
    history = [
        audit(1, alpha=0.7),
        audit(1, "rejected", alpha=0.1),
        audit(2, rules={"velocity": {"enabled": False}}),
        audit(2, "duplicate", alpha=0.7),
        audit(3, alpha=0.6, blacklist={"merchant": {"add": ["Shady"]}}),
    ]
    config = config_of(history)
    assert (config.revision, config.alpha) == (3, 0.6)
    assert config.rules["velocity"].enabled is False
    assert config.blacklist.merchant == frozenset({"Shady"})


def test_a_detector_without_a_savepoint_resets_the_configuration() -> None:
    first, second = audit(1, alpha=0.7), audit(2, alert_threshold=0.9)
    assert config_of([first, second, first]).alert_threshold == DetectionConfig().alert_threshold
    assert config_of([first, second, first, second]).revision == 2


def test_without_an_applied_message_the_configuration_is_the_default() -> None:
    assert config_of([]) == DetectionConfig()
