"""From the fields of a form to the changes of a control message, and from changes to words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, cast

from api.cases.viewer import masked
from api.errors import ApiError
from flink_jobs.core.control.blacklist import KINDS
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import BlacklistChange, BlacklistChanges, ControlChanges, RuleChange

STATES: Final = {"on": True, "off": False}
SCORES: Final = {"alert_threshold": "alert threshold", "alpha": "share of the model in the score"}
ACTIONS: Final = ("add", "remove")


class Line(NamedTuple):
    """One value that a proposal changes, in words."""

    what: str
    before: str
    after: str


def changes_of(form: Mapping[str, str]) -> ControlChanges:
    """Return the changes that a form asks for; ``kind`` names the form: ``rule``, ``score`` or ``blacklist``.

    Raises:
        ApiError: a field is not valid, or nothing is changed (422).
    """
    match form.get("kind"):
        case "rule":
            return {"rules": {form.get("rule", ""): _rule(form)}}
        case "score":
            return cast("ControlChanges", {name: _number(form, name) for name in SCORES if form.get(name, "").strip()})
        case "blacklist":
            return {"blacklist": _blacklist(form)}
    raise _invalid("the form has no kind")


def _rule(form: Mapping[str, str]) -> RuleChange:
    change = RuleChange()
    state = form.get("state", "")
    if state in STATES:
        change["enabled"] = STATES[state]
    if form.get("threshold", "").strip():
        change["threshold"] = _number(form, "threshold")
    if form.get("weight", "").strip():
        change["weight"] = _number(form, "weight")
    return change


def _blacklist(form: Mapping[str, str]) -> BlacklistChanges:
    listed, action = form.get("listed", ""), form.get("action", "")
    if listed not in KINDS or action not in ACTIONS:
        raise _invalid("the kind of entry or the action is missing")
    entries = [entry.strip() for entry in form.get("entries", "").splitlines() if entry.strip()]
    if not entries:
        raise _invalid("no entry is given")
    return cast("BlacklistChanges", {listed: {action: entries}})


def _number(form: Mapping[str, str], name: str) -> float:
    try:
        return float(form[name])
    except ValueError:
        raise _invalid(f"{name}: not a number") from None


def _invalid(message: str) -> ApiError:
    return ApiError(422, "invalid_request", message, "go back and correct the form")


def values_before(config: DetectionConfig, changes: ControlChanges) -> ControlChanges:
    """Return the values of a configuration that changes would replace; blacklist entries have none."""
    before: ControlChanges = {}
    if "alpha" in changes:
        before["alpha"] = config.alpha
    if "alert_threshold" in changes:
        before["alert_threshold"] = config.alert_threshold
    if "rules" in changes:
        before["rules"] = {
            rule: cast("RuleChange", {name: getattr(config.rules[rule], name) for name in change})
            for rule, change in changes["rules"].items()
        }
    return before


def lines_of(changes: ControlChanges, before: ControlChanges, *, shows_customers: bool) -> list[Line]:
    """Return each changed value in words; ids of customers are masked unless they are shown."""
    lines = [
        Line(words, _shown(before.get(name)), _shown(changes.get(name)))
        for name, words in SCORES.items()
        if name in changes
    ]
    for rule, change in changes.get("rules", {}).items():
        old = cast("Mapping[str, object]", before.get("rules", {}).get(rule, {}))
        words = {"enabled": "state", "threshold": "fires from", "weight": "weight"}
        lines += [
            Line(f"{rule.replace('_', ' ')}: {words[name]}", _shown(old.get(name)), _shown(value))
            for name, value in change.items()
        ]
    for kind in KINDS:
        listed = cast("BlacklistChange", changes.get("blacklist", {}).get(kind, {}))
        for action, entries in cast("Mapping[str, list[str]]", listed).items():
            hides = kind == "customer" and not shows_customers
            names = ", ".join(masked(entry) if hides else entry for entry in entries)
            lines.append(Line(f"blacklist of {kind}: {action}", "", names))
    return lines


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, int | float) else ""
