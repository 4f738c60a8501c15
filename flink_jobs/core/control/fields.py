"""Checks the fields of a control message; each error says what is wrong, where, and what is allowed."""

import re
from math import isfinite
from typing import Final, TypeGuard, cast

from flink_jobs.core.control.blacklist import KINDS
from flink_jobs.core.documents import ControlChanges
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.core.texts import has_no_control

MAX_TEXT: Final = 256
MIN_GUARDED_DECISIONS: Final = 20
MAX_GUARDED_DECISIONS: Final = 100_000
"""The guard keeps 1 byte for each of four times as many decisions, for two models, in every subtask."""
_MAX_RATIO: Final = 1_000.0
_MAX_NAMES_SHOWN: Final = 5
_MAX_NAME_SHOWN: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHANGES_V1: Final = {"alpha", "alert_threshold", "rules", "blacklist", "model_version"}
_NULL_BLEND: Final = 3
"""The first version in which alpha and the alert threshold can be null."""
_CHANGES_V2: Final = _CHANGES_V1 | {"model_digest", "shadow_model", "experiment"}


class InvalidFieldError(Exception):
    """A field of a control message is invalid; the message says which field and why."""


def check_changes(value: object, version: int) -> ControlChanges:
    """Return the changes of a control message after checking each of them.

    Raises:
        InvalidFieldError: the first problem.
    """
    changes = named(value, "changes", _CHANGES_V1 if version == 1 else _CHANGES_V2)
    for name in ("alpha", "alert_threshold"):
        if name in changes and not (version >= _NULL_BLEND and changes[name] is None):
            ratio(changes[name], f"changes.{name}")
    if "rules" in changes:
        _rule_changes(changes["rules"])
    if "blacklist" in changes:
        _blacklist_changes(changes["blacklist"])
    _model_changes(changes)
    return cast("ControlChanges", changes)


def _model_changes(changes: dict[str, object]) -> None:
    if "model_version" in changes:
        name(changes["model_version"], "changes.model_version")
    if "model_digest" in changes:
        if "model_version" not in changes:
            raise InvalidFieldError("changes.model_digest needs changes.model_version beside it")
        digest(changes["model_digest"], "changes.model_digest")
    shadow = changes.get("shadow_model")
    if shadow is not None:
        _model(whole(shadow, "changes.shadow_model", {"version", "digest"}), "changes.shadow_model")
    if changes.get("experiment") is not None:
        _experiment(changes["experiment"])


def _model(document: dict[str, object], where: str) -> None:
    name(document["version"], f"{where}.version")
    digest(document["digest"], f"{where}.digest")


def _experiment(value: object) -> None:
    where = "changes.experiment"
    document = whole(value, where, {"id", "version", "digest", "share", "guard"})
    name(document["id"], f"{where}.id")
    _model(document, where)
    ratio(document["share"], f"{where}.share")
    where += ".guard"
    guard = whole(
        document["guard"], where, {"min_decisions", "max_alert_rate_ratio", "min_alert_rate_ratio", "max_error_share"}
    )
    least = guard["min_decisions"]
    if type(least) is not int or not MIN_GUARDED_DECISIONS <= least <= MAX_GUARDED_DECISIONS:
        allowed = f"a whole number from {MIN_GUARDED_DECISIONS} to {MAX_GUARDED_DECISIONS}"
        raise InvalidFieldError(f"{where}.min_decisions must be {allowed}")
    low, high = guard["min_alert_rate_ratio"], guard["max_alert_rate_ratio"]
    if not (_is_number(low) and _is_number(high) and 1.0 / _MAX_RATIO <= low <= high <= _MAX_RATIO):
        raise InvalidFieldError(f"{where} needs 0.001 <= min_alert_rate_ratio <= max_alert_rate_ratio <= 1000")
    ratio(guard["max_error_share"], f"{where}.max_error_share")


def _rule_changes(value: object) -> None:
    for rule_id, rule in named(value, "changes.rules", set(RULE_BY_ID)).items():
        where = f"changes.rules.{rule_id}"
        change = named(rule, where, {"enabled", "weight", "threshold"})
        if type(change.get("enabled", True)) is not bool:
            raise InvalidFieldError(f"{where}.enabled must be true or false")
        ratio(change.get("weight", 0.0), f"{where}.weight")
        if type(change.get("threshold", 0.0)) not in (int, float):
            raise InvalidFieldError(f"{where}.threshold must be a number")


def _blacklist_changes(value: object) -> None:
    for kind, entries in named(value, "changes.blacklist", set(KINDS)).items():
        where = f"changes.blacklist.{kind}"
        for names in named(entries, where, {"add", "remove"}).values():
            if type(names) is not list or not all(map(is_text, names)):
                raise InvalidFieldError(
                    f"{where} takes lists of strings of 1 to {MAX_TEXT} characters without control characters"
                )


def known_fields(value: object, where: str, known: set[str]) -> dict[str, object]:
    """Return a JSON object that has only known fields, so that a misspelt field is not ignored."""
    if type(value) is not dict:
        raise InvalidFieldError(f"{where} must be a JSON object")
    unknown = sorted(set(value) - known)
    if unknown:
        named = ", ".join(repr(name[:_MAX_NAME_SHOWN]) for name in unknown[:_MAX_NAMES_SHOWN])
        raise InvalidFieldError(
            f"{where} has unknown fields, such as {named}; known fields: {', '.join(sorted(known))}"
        )
    return value


def named(value: object, where: str, known: set[str]) -> dict[str, object]:
    """Return a JSON object that has at least one known field and no other fields."""
    fields = known_fields(value, where, known)
    if not fields:
        raise InvalidFieldError(f"{where} is empty; name at least one of {', '.join(sorted(known))}")
    return fields


def is_text(value: object) -> bool:
    """Return whether a value is 1 to ``MAX_TEXT`` characters without control characters."""
    # Control characters such as NUL break logs, and Postgres rejects NUL.
    return type(value) is str and 0 < len(value) <= MAX_TEXT and has_no_control(value)


def text(document: dict[str, object], field: str) -> str:
    """Return a required text field."""
    value = document.get(field)
    if not is_text(value):
        raise InvalidFieldError(f"{field} must be 1 to {MAX_TEXT} characters without control characters")
    return str(value)


def ratio(value: object, where: str) -> None:
    """Check a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise InvalidFieldError(f"{where} must be a number from 0 to 1")


def name(value: object, where: str) -> str:
    """Return the name of a model version or an experiment, which is never a path.

    Raises:
        InvalidFieldError: the value is not such a name.
    """
    if type(value) is not str or not _NAME.fullmatch(value):
        raise InvalidFieldError(f"{where} must be 1 to 64 letters, digits, dots, dashes or underscores")
    return value


def digest(value: object, where: str) -> None:
    """Check a SHA-256."""
    if type(value) is not str or not _DIGEST.fullmatch(value):
        raise InvalidFieldError(f"{where} must be 64 hexadecimal digits, the arrays_sha256 of the model's manifest")


def whole(value: object, where: str, fields: set[str]) -> dict[str, object]:
    """Return a JSON object that has exactly these fields."""
    document = known_fields(value, where, fields)
    missing = sorted(fields - set(document))
    if missing:
        raise InvalidFieldError(f"{where} lacks {', '.join(missing)}")
    return document


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
