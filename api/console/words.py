"""Puts the reasons of a decision into words, each with what is normal for the customer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.console.declared import Specs
from api.console.history import Normal
from api.console.pages import money
from api.documents import Decision, Reason
from flink_jobs.core.features.table import FeatureSpec
from flink_jobs.core.models.inputs import INPUT_SPECS
from flink_jobs.core.models.own_use import range_of
from flink_jobs.core.reasons import ReasonCode

_NO_UNIT: Final = {"ratio", "0 or 1"}
NO_HISTORY: Final = "no earlier purchase of this customer is stored"


@dataclass(frozen=True, slots=True)
class Said:
    """One reason for readers."""

    code: str
    text: str
    normal: str
    """What is usual for the customer; empty where that is no comparison."""
    adds: float | None
    """Score points."""


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one feature in the model's score."""

    name: str
    meaning: str
    value: str
    adds: float


def reasons_of(decision: Decision, normal: Normal | None) -> list[Said]:
    """Return the reasons of a decision in words; ``normal`` is ``None`` where the reader may not see the customer."""
    features = features_of(decision)
    return [_said(reason, decision, features, normal) for reason in decision.reasons]


def features_of(decision: Decision) -> Mapping[str, float | None]:
    """Return the features of a decision."""
    found: Mapping[str, float | None] = (decision.model_extra or {}).get("features") or {}
    return found


def ids_of(decision: Decision) -> dict[str, str]:
    """Return the known terminal, card, device and address of a decision, by the name on the page."""
    ids = {"Card": decision.card, "Device": decision.device, "Address": decision.ip, "Terminal": decision.terminal}
    return {name: value for name, value in ids.items() if value is not None}


def _said(reason: Reason, decision: Decision, features: Mapping[str, float | None], normal: Normal | None) -> Said:
    text, usual = reason.text[:1].upper() + reason.text[1:], ""
    amount = money(decision.amount_minor, decision.currency)
    if reason.code == ReasonCode.HIGH_AMOUNT:
        ratio = features.get("amount_ratio")
        text = f"{amount} is far above the customer's usual amounts"
        if ratio is not None:
            text = f"{amount} is {ratio:,.1f} times the customer's mean amount"
        if normal is not None and normal.median_minor is not None:
            usual = f"usual: {money(normal.median_minor, decision.currency)} (median)"
    elif reason.code == ReasonCode.HIGH_VELOCITY:
        count = features.get("velocity_count")
        text = text if count is None else f"{count:,.0f} purchases within one hour"
        usual = _per_day(normal)
    elif reason.code == ReasonCode.UNUSUAL_TIME:
        other = features.get("time_deviation")
        if other is not None:
            text = f"{other:.0%} of the customer's purchases are at other times of the day"
        usual = _hours(normal)
    elif reason.code == ReasonCode.IMPOSSIBLE_TRAVEL:
        speed = features.get("geo_speed_kmh")
        if speed is not None:
            text = f"{speed:,.0f} km/h from the place of the last purchase to this one"
        usual = _countries(normal)
    elif reason.code == ReasonCode.MODEL_ANOMALY:
        score = (decision.model_extra or {}).get("ml_score")
        text = text if score is None else f"The model's score is {score:.2f} of 1"
    return Said(reason.code, text, usual, reason.contribution)


def _per_day(normal: Normal | None) -> str:
    if normal is None:
        return ""
    return f"usual: {normal.per_day:.1f} a day" if normal.purchases else NO_HISTORY


def _hours(normal: Normal | None) -> str:
    if normal is None:
        return ""
    if not normal.purchases:
        return NO_HISTORY
    hour = max(range(24), key=lambda start: sum(normal.hours[(start + step) % 24] for step in range(6)))
    share = sum(normal.hours[(hour + step) % 24] for step in range(6)) / normal.purchases
    return f"usual: {share:.0%} of purchases from {hour:02}:00 to {(hour + 6) % 24:02}:00 UTC"


def _countries(normal: Normal | None) -> str:
    if normal is None or not normal.countries:
        return ""
    return "usual: " + ", ".join(f"{name} {share:.0%}" for name, share in normal.countries)


def shares_of(decision: Decision, specs: Specs = INPUT_SPECS) -> list[Share]:
    """Return the shares of all features in the model's score, largest first; none without a model's explanation."""
    features = features_of(decision)
    shares = []
    for name, adds in (decision.contributions or {}).items():
        spec = specs.get(name)
        meaning = spec.meaning if spec else "computed by the model"
        value = value_of(spec, features[name]) if name in features else "not recorded"
        shares.append(Share(name.replace("_", " "), meaning, value, adds))
    return sorted(shares, key=lambda share: -abs(share.adds))


def feature_rows(decision: Decision, specs: Specs = INPUT_SPECS) -> list[dict[str, Any]]:
    """Return name, value, range, meaning, and the reason for an absent value, of every feature of a decision."""
    absent = (decision.model_extra or {}).get("absent") or {}
    return [
        {
            "name": name.replace("_", " "),
            "value": value_of(specs.get(name), value),
            "range": range_of(specs[name].low, specs[name].high) if name in specs else "",
            "meaning": specs[name].meaning if name in specs else "",
            "absent": str(absent.get(name, "")).replace("_", " "),
        }
        for name, value in features_of(decision).items()
    ]


def value_of(spec: FeatureSpec | None, value: float | None) -> str:
    """Return the value of a feature with its unit."""
    if value is None:
        return "absent"
    unit = "" if spec is None or spec.unit in _NO_UNIT else f" {spec.unit}"
    return f"{value:,.2f}".rstrip("0").rstrip(".") + unit
