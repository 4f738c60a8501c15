"""Audit records: the outcome of each control message (contract ``audit`` v1)."""

from typing import Final

import orjson

from flink_jobs.core.control.messages import ControlMessage, ControlRefusal, control_id_of
from flink_jobs.core.documents import AuditDocument, ControlOutcome
from flink_jobs.core.parsing.source_record import SourceRecord

AUDIT_SCHEMA_VERSION: Final = 1


def build_audit_record(
    record: SourceRecord,
    message: ControlMessage | ControlRefusal,
    outcome: ControlOutcome,
    detail: str,
    revision: int,
    now_ms: int,
) -> AuditDocument:
    """Build the audit record of a control message.

    Args:
        record: the control message as it came from Kafka.
        message: the parsed message, or why it is invalid.
        outcome: what the message led to.
        detail: why it was rejected, which model could not be loaded, or which blacklist entries match nothing or were
            not listed; empty when all is well.
        revision: the revision in force after the message.
        now_ms: the job's clock, ms since the epoch.

    Returns:
        The record. Its ``control_id`` is the message's own where it can be read, else the message's coordinates
        ``topic-partition-offset``.
    """
    sent = message if isinstance(message, ControlMessage) else None
    return {
        "schema_version": AUDIT_SCHEMA_VERSION,
        "control_id": control_id_of(record.payload) or f"{record.topic}-{record.partition}-{record.offset}",
        "revision": revision,
        "outcome": outcome,
        "detail": detail,
        "issued_by": None if sent is None else sent.issued_by,
        "issued_at_ms": None if sent is None else sent.issued_at_ms,
        "reason": None if sent is None else sent.reason,
        "applied_at_ms": now_ms,
        "changes": {} if sent is None else sent.changes,
    }


def encode_audit_record(audit: AuditDocument) -> str:
    """Encode an audit record for its topic."""
    return orjson.dumps(audit).decode()
