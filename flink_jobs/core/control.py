"""Control messages: validated as a whole, applied as a whole, or refused with a reason.

Every parallel instance of the detector receives the same messages in the same order (one partition, broadcast) and
applies this pure function, so all of them agree on the revision without talking to each other.
"""

import re
from typing import Any, Final, NamedTuple

import orjson

from flink_jobs.core.config import Blacklist, DetectionConfig
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.rules import RULE_BY_ID, RuleSetting

CONTROL_SCHEMA_VERSION: Final = 1
MAX_CONTROL_BYTES: Final = 262_144
MAX_BLACKLIST_ENTRIES: Final = 10_000
"""Entries per kind: the whole configuration travels in broadcast state and in every checkpoint."""
_MAX_TEXT: Final = 256
_MAX_TIME_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""
_MAX_NAMES_SHOWN: Final = 5
_MAX_NAME_SHOWN: Final = 64
_MODEL_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BLACKLIST_KINDS: Final = ("customer", "merchant", "country")


class ControlMessage(NamedTuple):
    """A control message that is well formed; whether it applies depends on the configuration."""

    control_id: str
    issued_by: str
    issued_at_ms: int
    reason: str
    expected_revision: int | None
    changes: dict[str, Any]


class ControlRefusal(NamedTuple):
    """Why a control message changed nothing."""

    reason: DeadLetterReason
    detail: str


class _InvalidError(Exception):
    """A field of a control message is wrong; the message says which and why."""


def parse_control(raw: bytes | None) -> ControlMessage | ControlRefusal:
    """Validate the bytes of a control message (contract ``control`` v1) in full."""
    try:
        return _parse(raw)
    except _InvalidError as problem:
        return ControlRefusal(DeadLetterReason.CONTROL_INVALID, str(problem))


def control_id_of(raw: bytes | None) -> str | None:
    """Return the id that a message of any validity claims, so that its sender finds it in the audit; else ``None``."""
    try:
        return _text(orjson.loads(raw or b""), "control_id")
    except (ValueError, AttributeError, _InvalidError):
        return None


def apply_control(config: DetectionConfig, message: ControlMessage) -> DetectionConfig | ControlRefusal:
    """Return the configuration with all changes of a message, or why it was refused.

    A message whose id was applied before returns the same object: a redelivery changes nothing.
    """
    if message.control_id in config.control_ids:
        return config
    if message.expected_revision is not None and message.expected_revision != config.revision:
        return ControlRefusal(
            DeadLetterReason.CONTROL_REVISION_CONFLICT,
            f"expected revision {message.expected_revision}, but {config.revision} is in force; read it and send again",
        )
    changes = message.changes
    updated: dict[str, Any] = {
        name: changes[name] for name in ("alpha", "alert_threshold", "model_version") if name in changes
    }
    if "rules" in changes:
        updated["rules"] = {**config.rules, **_changed_rules(config, changes["rules"])}
    if "blacklist" in changes:
        blacklist = _changed_blacklist(config.blacklist, changes["blacklist"])
        if isinstance(blacklist, ControlRefusal):
            return blacklist
        updated["blacklist"] = blacklist
    return config.next_revision(message.control_id, **updated)


def _changed_rules(config: DetectionConfig, changes: dict[str, dict[str, Any]]) -> dict[str, RuleSetting]:
    return {
        rule_id: RuleSetting(
            enabled=change.get("enabled", config.rules[rule_id].enabled),
            weight=change.get("weight", config.rules[rule_id].weight),
            threshold=change.get("threshold", config.rules[rule_id].threshold),
        )
        for rule_id, change in changes.items()
    }


def _changed_blacklist(blacklist: Blacklist, changes: dict[str, dict[str, list[str]]]) -> Blacklist | ControlRefusal:
    entries = {kind: getattr(blacklist, kind) for kind in _BLACKLIST_KINDS}
    for kind, change in changes.items():
        entries[kind] = entries[kind].union(change.get("add", ())).difference(change.get("remove", ()))
        if len(entries[kind]) > MAX_BLACKLIST_ENTRIES:
            return ControlRefusal(
                DeadLetterReason.CONTROL_INVALID,
                f"the {kind} blacklist would hold {len(entries[kind])} entries, at most {MAX_BLACKLIST_ENTRIES} fit",
            )
    return Blacklist(**entries)


# ---- validation ----------------------------------------------------------------------------------------------


def _parse(raw: bytes | None) -> ControlMessage:
    if not raw or len(raw) > MAX_CONTROL_BYTES:
        raise _InvalidError(f"a control message has 1 to {MAX_CONTROL_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except ValueError as error:
        raise _InvalidError(f"not JSON: {error}") from error
    document = _object(document, "the message", {*ControlMessage._fields, "schema_version"})
    version = document.get("schema_version")
    if type(version) is not int or version != CONTROL_SCHEMA_VERSION:
        raise _InvalidError(f"schema_version must be {CONTROL_SCHEMA_VERSION}")
    issued_at_ms = document.get("issued_at_ms")
    if type(issued_at_ms) is not int or not 0 <= issued_at_ms <= _MAX_TIME_MS:
        raise _InvalidError("issued_at_ms must be milliseconds since the epoch, up to the year 9999")
    expected = document.get("expected_revision")
    if expected is not None and (type(expected) is not int or expected < 0):
        raise _InvalidError("expected_revision must be an integer from 0, or absent")
    return ControlMessage(
        _text(document, "control_id"),
        _text(document, "issued_by"),
        issued_at_ms,
        _text(document, "reason"),
        expected,
        _changes(document.get("changes")),
    )


def _changes(value: object) -> dict[str, Any]:
    changes = _named(value, "changes", {"alpha", "alert_threshold", "rules", "blacklist", "model_version"})
    for name in ("alpha", "alert_threshold"):
        if name in changes:
            _ratio(changes[name], f"changes.{name}")
    if "model_version" in changes and not (
        type(changes["model_version"]) is str and _MODEL_VERSION.fullmatch(changes["model_version"])
    ):
        raise _InvalidError("changes.model_version must be 1 to 64 letters, digits, dots, dashes or underscores")
    if "rules" in changes:
        _rule_changes(changes["rules"])
    if "blacklist" in changes:
        _blacklist_changes(changes["blacklist"])
    return changes


def _rule_changes(value: object) -> None:
    for rule_id, rule in _named(value, "changes.rules", set(RULE_BY_ID)).items():
        where = f"changes.rules.{rule_id}"
        change = _named(rule, where, {"enabled", "weight", "threshold"})
        if type(change.get("enabled", True)) is not bool:
            raise _InvalidError(f"{where}.enabled must be true or false")
        _ratio(change.get("weight", 0.0), f"{where}.weight")
        if type(change.get("threshold", 0.0)) not in (int, float):
            raise _InvalidError(f"{where}.threshold must be a number")


def _blacklist_changes(value: object) -> None:
    for kind, entries in _named(value, "changes.blacklist", set(_BLACKLIST_KINDS)).items():
        where = f"changes.blacklist.{kind}"
        for names in _named(entries, where, {"add", "remove"}).values():
            if type(names) is not list or not all(map(_is_text, names)):
                raise _InvalidError(f"{where} takes lists of strings of 1 to {_MAX_TEXT} printable characters")


def _object(value: object, where: str, known: set[str]) -> dict[str, Any]:
    """Return a JSON object that has known fields only: a misspelt one must not be ignored."""
    if type(value) is not dict:
        raise _InvalidError(f"{where} must be a JSON object")
    unknown = sorted(set(value) - known)
    if unknown:
        named = ", ".join(repr(name[:_MAX_NAME_SHOWN]) for name in unknown[:_MAX_NAMES_SHOWN])
        raise _InvalidError(f"{where} has unknown fields, such as {named}; known are {', '.join(sorted(known))}")
    return value


def _named(value: object, where: str, known: set[str]) -> dict[str, Any]:
    """Return a JSON object that has at least one of the known fields, and no other."""
    fields = _object(value, where, known)
    if not fields:
        raise _InvalidError(f"{where} is empty; name at least one of {', '.join(sorted(known))}")
    return fields


def _is_text(value: object) -> bool:
    # What is not printable, such as NUL, has no place in a name, and a database refuses it.
    return type(value) is str and 0 < len(value) <= _MAX_TEXT and value.isprintable()


def _text(document: dict[str, Any], field: str) -> str:
    value = document.get(field)
    if not _is_text(value):
        raise _InvalidError(f"{field} must be 1 to {_MAX_TEXT} printable characters")
    return str(value)


def _ratio(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise _InvalidError(f"{where} must be a number from 0 to 1")
