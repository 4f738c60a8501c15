"""The audit record of a control message, whatever became of the message."""

from __future__ import annotations

import orjson

from flink_jobs.core.control.audit import build_audit_record, encode_audit_record
from flink_jobs.core.control.messages import ControlMessage, parse_control
from flink_jobs.core.documents import ControlOutcome
from flink_jobs.core.parsing.source_record import SourceRecord
from tests.strategies import NOW_MS


def record(payload: bytes | None) -> SourceRecord:
    return SourceRecord(payload, 0, 9, "2026-01-01 00:00:00.000", "", "", "streamflow.control")


def test_an_applied_message_is_recorded_with_its_sender_and_its_changes() -> None:
    sent = {
        "schema_version": 2,
        "control_id": "ctl-1",
        "issued_by": "ana",
        "issued_at_ms": 5,
        "reason": "fewer alerts",
        "changes": {"alpha": 0.25},
    }
    payload = orjson.dumps(sent)
    message = parse_control(payload)
    assert isinstance(message, ControlMessage)

    audit = build_audit_record(record(payload), message, ControlOutcome.APPLIED, "", 7, NOW_MS)

    assert orjson.loads(encode_audit_record(audit)) == {
        "schema_version": 1,
        "control_id": "ctl-1",
        "revision": 7,
        "outcome": "applied",
        "detail": "",
        "issued_by": "ana",
        "issued_at_ms": 5,
        "reason": "fewer alerts",
        "applied_at_ms": NOW_MS,
        "changes": {"alpha": 0.25},
    }


def test_an_invalid_message_is_recorded_under_its_id_without_its_other_fields() -> None:
    payload = orjson.dumps({"control_id": "ctl-2", "issued_by": 7, "changes": {"alpha": 2}})
    audit = build_audit_record(record(payload), parse_control(payload), ControlOutcome.REJECTED, "not valid", 3, NOW_MS)
    assert (audit["control_id"], audit["outcome"], audit["detail"]) == ("ctl-2", "rejected", "not valid")
    assert (audit["issued_by"], audit["issued_at_ms"], audit["reason"], audit["changes"]) == (None, None, None, {})


def test_a_message_without_a_readable_id_is_recorded_under_its_coordinates() -> None:
    for payload in (None, b"", b"\xff", b"[]", b'{"control_id":""}'):
        audit = build_audit_record(record(payload), parse_control(payload), ControlOutcome.REJECTED, "", 3, NOW_MS)
        assert audit["control_id"] == "streamflow.control-0-9"
