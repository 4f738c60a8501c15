"""Control messages: each is validated and applied as a whole, or rejected with a reason.

Every parallel instance of the detector receives the same messages in the same order (one partition, broadcast) and
applies them with the same pure function, so all instances have the same revision without communication.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import orjson

from flink_jobs.core.control.blacklist import KINDS, Blacklist, changed_blacklist, not_listed, unmatchable
from flink_jobs.core.control.config import (
    DEFAULT_ALERT_THRESHOLD,
    DEFAULT_ALPHA,
    ConfigChanges,
    DetectionConfig,
    experiment_of,
)
from flink_jobs.core.control.experiment import Experiment, ModelRef
from flink_jobs.core.control.fields import (
    MAX_TEXT,
    InvalidFieldError,
    check_changes,
    known_fields,
    name,
    text,
)
from flink_jobs.core.documents import (
    ControlChanges,
    ControlDocument,
    ExperimentDocument,
    RuleChange,
)
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.rules import RuleSetting

CONTROL_SCHEMA_VERSION: Final = 3
"""The newest version, see ``version_of``. Version 1 has no digests, shadows and experiments."""
MAX_CONTROL_BYTES: Final = 262_144
GUARD: Final = "guard of the fraud detector"
"""``issued_by`` of the messages with which a guard stops its experiment."""
MAX_BLACKLIST_ENTRIES: Final = 10_000
"""Limit per kind of entity: broadcast state and every checkpoint hold the whole configuration."""
_MAX_TIME_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


class ControlMessage(NamedTuple):
    """A valid control message; the configuration in force decides whether it can be applied."""

    control_id: str
    issued_by: str
    issued_at_ms: int
    reason: str
    expected_revision: int | None
    changes: ControlChanges
    expected_experiment: str | None = None


class ControlRefusal(NamedTuple):
    """Why a control message was rejected."""

    reason: DeadLetterReason
    detail: str


def version_of(changes: Mapping[str, object]) -> Literal[2, 3]:
    """Return the schema version of a message with these changes: the lowest that allows them."""
    return 3 if any(name in changes and changes[name] is None for name in ("alpha", "alert_threshold")) else 2


def parse_control(raw: bytes | None) -> ControlMessage | ControlRefusal:
    """Return a control message (contract ``control``) from its bytes, or why it is invalid."""
    try:
        return _parse(raw)
    except InvalidFieldError as problem:
        return ControlRefusal(DeadLetterReason.CONTROL_INVALID, str(problem))


def control_id_of(raw: bytes | None) -> str | None:
    """Return the ``control_id`` of a message, also of an invalid one; ``None`` where it cannot be read.

    The sender of an invalid message finds the message in the audit by this id.
    """
    try:
        return text(orjson.loads(raw or b""), "control_id")
    except (ValueError, AttributeError, InvalidFieldError):
        return None


def apply_control(config: DetectionConfig, message: ControlMessage) -> DetectionConfig | ControlRefusal:
    """Return the configuration with all changes of a message, or why the message is rejected.

    A message whose id was applied before returns ``config`` itself: a redelivered message changes nothing.
    """
    if message.control_id in config.control_ids:
        return config
    if message.expected_revision is not None and message.expected_revision != config.revision:
        return ControlRefusal(
            DeadLetterReason.CONTROL_REVISION_CONFLICT,
            f"expected revision {message.expected_revision}, but revision {config.revision} is in force; "
            "read it and send a new message",
        )
    running = None if config.experiment is None else config.experiment.id
    if message.expected_experiment is not None and message.expected_experiment != running:
        return ControlRefusal(
            DeadLetterReason.CONTROL_REVISION_CONFLICT,
            f"experiment {message.expected_experiment} is not running; running: {running or 'none'}",
        )
    changes = message.changes
    updated = _changed_models(changes)
    if "alpha" in changes:
        alpha = changes["alpha"]
        updated["alpha"], updated["alpha_is_set"] = DEFAULT_ALPHA if alpha is None else alpha, alpha is not None
    if "alert_threshold" in changes:
        limit = changes["alert_threshold"]
        updated["alert_threshold"] = DEFAULT_ALERT_THRESHOLD if limit is None else limit
        updated["threshold_is_set"] = limit is not None
    refusal = _experiment_refusal(config, changes.get("experiment"))
    if refusal is not None:
        return refusal
    if "rules" in changes:
        updated["rules"] = {**config.rules, **_changed_rules(config, changes["rules"])}
    if "blacklist" in changes:
        updated["blacklist"] = changed_blacklist(config.blacklist, changes["blacklist"])
        refusal = _blacklist_refusal(updated["blacklist"])
        if refusal is not None:
            return refusal
    return config.next_revision(message.control_id, **updated)


def remarks(config: DetectionConfig, message: ControlMessage) -> str:
    """Return what a sender should know about a message that is applied to ``config``; empty when all is well.

    Blacklist entries that match nothing are applied and reported: a detector that reads old control messages again must
    reach the same revision as before.
    """
    changes = message.changes.get("blacklist", {})
    return "; ".join(filter(None, (unmatchable(changes), not_listed(config.blacklist, changes))))


def end_of_experiment(experiment: Experiment, why: str, now_ms: int) -> str:
    """Return the control message with which a guard stops its experiment in every subtask.

    Every subtask sends the same id: the first message stops the experiment, the others are duplicates.
    """
    document: ControlDocument = {
        "schema_version": 2,
        "control_id": experiment.guard_control_id,
        "issued_by": GUARD,
        "issued_at_ms": now_ms,
        "reason": f"guard: {why}"[:MAX_TEXT],
        "expected_experiment": experiment.id,
        "changes": {"experiment": None},
    }
    return orjson.dumps(document).decode()


def _experiment_refusal(config: DetectionConfig, wanted: ExperimentDocument | None) -> ControlRefusal | None:
    """Return why an experiment cannot start: one is running, or the guard has stopped one with this id."""
    if wanted is None:
        return None
    if config.experiment is not None:
        problem = f"experiment {config.experiment.id} is running; stop it first"
    elif experiment_of(wanted).guard_control_id in config.control_ids:
        problem = f"the guard has stopped experiment {wanted['id']}; use a new id"
    else:
        return None
    return ControlRefusal(DeadLetterReason.CONTROL_INVALID, problem)


def _changed_models(changes: ControlChanges) -> ConfigChanges:
    updated: ConfigChanges = {}
    if "model_version" in changes:
        updated["model_version"] = changes["model_version"]
        updated["model_digest"] = changes.get("model_digest")
    if "shadow_model" in changes:
        shadow = changes["shadow_model"]
        updated["shadow_model"] = None if shadow is None else ModelRef(**shadow)
    if "experiment" in changes:
        experiment = changes["experiment"]
        updated["experiment"] = None if experiment is None else experiment_of(experiment)
    return updated


def _changed_rules(config: DetectionConfig, changes: dict[str, RuleChange]) -> dict[str, RuleSetting]:
    return {
        rule_id: RuleSetting(
            enabled=change.get("enabled", config.rules[rule_id].enabled),
            weight=change.get("weight", config.rules[rule_id].weight),
            threshold=change.get("threshold", config.rules[rule_id].threshold),
        )
        for rule_id, change in changes.items()
    }


def _blacklist_refusal(blacklist: Blacklist) -> ControlRefusal | None:
    for kind in KINDS:
        count = len(getattr(blacklist, kind))
        if count > MAX_BLACKLIST_ENTRIES:
            return ControlRefusal(
                DeadLetterReason.CONTROL_INVALID,
                f"the {kind} blacklist would hold {count} entries; the limit is {MAX_BLACKLIST_ENTRIES}",
            )
    return None


def _parse(raw: bytes | None) -> ControlMessage:
    if not raw or len(raw) > MAX_CONTROL_BYTES:
        raise InvalidFieldError(f"a control message has 1 to {MAX_CONTROL_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except ValueError as error:
        raise InvalidFieldError(f"not JSON: {error}") from error
    document = known_fields(document, "the message", {*ControlMessage._fields, "schema_version"})
    version = document.get("schema_version")
    if type(version) is not int or not 1 <= version <= CONTROL_SCHEMA_VERSION:
        raise InvalidFieldError(f"schema_version must be 1 to {CONTROL_SCHEMA_VERSION}")
    issued_at_ms = document.get("issued_at_ms")
    if type(issued_at_ms) is not int or not 0 <= issued_at_ms <= _MAX_TIME_MS:
        raise InvalidFieldError("issued_at_ms must be milliseconds since the epoch, up to the year 9999")
    expected = document.get("expected_revision")
    if expected is not None and (type(expected) is not int or expected < 0):
        raise InvalidFieldError("expected_revision must be an integer from 0, or absent")
    experiment = document.get("expected_experiment")
    if experiment is not None:
        if version == 1:
            raise InvalidFieldError("expected_experiment needs schema_version 2")
        experiment = name(experiment, "expected_experiment")
    return ControlMessage(
        text(document, "control_id"),
        text(document, "issued_by"),
        issued_at_ms,
        text(document, "reason"),
        expected,
        check_changes(document.get("changes"), version),
        experiment,
    )
