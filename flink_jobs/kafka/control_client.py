"""Send control messages to the running detector and read their outcome from ``.audit``."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from kafka.errors import KafkaError

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.control.blacklist import unmatchable
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import (
    ControlMessage,
    ControlRefusal,
    apply_control,
    parse_control,
    version_of,
)
from flink_jobs.core.documents import AuditDocument, ControlChanges, ControlDocument, ControlOutcome
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.producer import CONNECT_LIMIT_S, connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

POLL_S = 0.2


def build_message(
    changes: ControlChanges, *, issued_by: str, reason: str, expected_revision: int | None, now_ms: int
) -> ControlDocument:
    """Return a control message (contract ``control``) with a fresh id."""
    return {
        "schema_version": version_of(changes),
        "control_id": f"ctl-{uuid.uuid4()}",
        "issued_by": issued_by,
        "issued_at_ms": now_ms,
        "reason": reason,
        "expected_revision": expected_revision,
        "changes": changes,
    }


def encode_checked(document: Mapping[str, Any]) -> bytes:
    """Return the encoded message after checking it with the detector's own parser.

    Raises:
        UserError: the parser refuses the message; the error names the reason.
    """
    payload = orjson.dumps(document)
    parsed = parse_control(payload)
    if isinstance(parsed, ControlRefusal):
        raise UserError(f"the control message is not valid ({parsed.detail})", "correct it; nothing was sent")
    problem = unmatchable(parsed.changes.get("blacklist", {}))
    if problem:
        raise UserError(f"the control message has {problem}", "correct the entries; nothing was sent")
    return payload


def send_and_wait(broker: Broker, prefix: str, payload: bytes, control_id: str, wait_s: float) -> AuditDocument | None:
    """Send one control message and return its ``.audit`` record; ``None`` if none arrives within ``wait_s`` seconds.

    If ``wait_s`` is 0, it returns at once after sending.

    Raises:
        UserError: no broker, no topic, or the broker refused the message.
    """
    with CommittedReader(broker, [topic_name(prefix, "audit")]) as audit:
        audit.seek_to_end()
        _send(broker, topic_name(prefix, "control"), payload, control_id.encode())
        limit = time.monotonic() + wait_s
        while time.monotonic() < limit:
            for record in audit.read_to_end():
                document: AuditDocument = orjson.loads(record.value or b"{}")
                if document.get("control_id") == control_id:
                    return document
            time.sleep(POLL_S)
    return None


def _send(broker: Broker, topic: str, payload: bytes, key: bytes) -> None:
    producer = connect(broker)
    try:
        producer.send(topic, value=payload, key=key).get(timeout=CONNECT_LIMIT_S)
    except KafkaError as cause:
        raise UserError(
            f"Kafka did not take the message for {topic} ({type(cause).__name__})",
            "check with `streamflow status` that the broker is up and `streamflow up` made its topics",
        ) from None
    finally:
        producer.close(timeout=CONNECT_LIMIT_S)


@dataclass(frozen=True, slots=True)
class ControlState:
    """The configuration in force according to ``.audit``, and the ids of messages without an outcome there."""

    config: DetectionConfig
    history: tuple[AuditDocument, ...]
    pending: tuple[str, ...]


def read_control_state(broker: Broker, prefix: str) -> ControlState:
    """Return the configuration in force, derived from the topics ``.audit`` and ``.control``.

    Raises:
        UserError: no broker answers, or a topic is missing.
    """
    control, audit = topic_name(prefix, "control"), topic_name(prefix, "audit")
    with CommittedReader(broker, [control, audit]) as reader:
        sent: list[str] = []
        history: list[AuditDocument] = []
        for record in reader.read_to_end():
            if record.topic == audit:
                history.append(orjson.loads(record.value or b"{}"))
            else:
                message = parse_control(record.value)
                if isinstance(message, ControlMessage):
                    sent.append(message.control_id)
    answered = {entry.get("control_id") for entry in history}
    pending = tuple(control_id for control_id in sent if control_id not in answered)
    return ControlState(config_of(history), tuple(history), pending)


def config_of(history: Iterable[AuditDocument]) -> DetectionConfig:
    """Return the configuration after all changes that the audit records as applied, in order.

    A detector that starts without a savepoint reads all control messages again and restarts its revisions at 1. At such
    an entry the configuration restarts from the defaults here, too.
    """
    config = DetectionConfig()
    for entry in history:
        if entry.get("outcome") != ControlOutcome.APPLIED:
            continue
        if entry["revision"] <= config.revision and entry["revision"] == 1:
            config = DetectionConfig()
        issued_by, issued_at_ms = entry["issued_by"] or "", entry["issued_at_ms"] or 0  # never null when applied
        message = ControlMessage(
            entry["control_id"], issued_by, issued_at_ms, entry["reason"] or "", None, entry["changes"]
        )
        updated = apply_control(config, message)
        if isinstance(updated, DetectionConfig):
            config = updated
    return config
