"""Explain a recorded decision: its rules under the configuration in force at that time, and its model score."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, Final

from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.models.inputs import INPUT_SPECS
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RULES
from flink_jobs.core.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.documents import DecisionDocument
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.own_features.values import OwnValues

SAME_SCORE: Final = 1e-9
"""Largest difference between the recorded model score and the score of the same model today."""


@dataclass(frozen=True, slots=True)
class FiredRule:
    """A rule that fired, with its setting at that time."""

    rule: str
    code: str
    feature: str
    value: float | None
    threshold: float
    unit: str
    weight: float
    adds: float
    """Its share of the score, in score points."""


@dataclass(frozen=True, slots=True)
class FeatureShare:
    """The share of a feature in the model's score."""

    feature: str
    value: float | None
    """``None`` for an absent feature (``absent`` says why), and for inputs that the model computes itself."""
    absent: str | None
    unit: str
    meaning: str
    adds: float
    """In points of the model's score."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and its parts.

    Attributes:
        decision: the decision as the job recorded it.
        rules: the rules that fired, largest contribution first.
        base: the model's score before any feature, ``None`` without contributions.
        shares: the share of each feature, largest first; ``base`` and the shares add up to ``ml_score``.
        why_no_shares: why the model's score cannot be explained; empty when it can.
    """

    decision: DecisionDocument
    rules: list[FiredRule]
    base: float | None
    shares: list[FeatureShare]
    why_no_shares: str


def explain(
    decision: DecisionDocument,
    contributions: Mapping[str, float] | None,
    config: DetectionConfig,
    model: Model | None,
    why_no_model: str,
    own: OwnValues | None = None,
) -> Explanation:
    """Explain a recorded decision.

    Args:
        decision: the decision (contract ``decisions``).
        contributions: the contributions in its alert; ``None`` without an alert or without contributions.
        config: the configuration in force at that time.
        model: the model that gave the score; it scores again where ``contributions`` is ``None``.
        why_no_model: why ``model`` is ``None``, if it is.
        own: the own features of the installation, with which ``model`` was loaded.
    """
    why, ml_score = "", decision["ml_score"]
    if ml_score is None:
        contributions, why = None, "no model gave a score: the rules decided alone"
    elif contributions is None:
        contributions, why = _scored_again(decision, model, why_no_model, own)
    base = None if contributions is None or ml_score is None else ml_score - sum(contributions.values())
    return Explanation(decision, _fired(decision, config), base, _shares(decision, contributions or {}, own), why)


def _scored_again(
    decision: DecisionDocument, model: Model | None, why_no_model: str, own: OwnValues | None
) -> tuple[dict[str, float] | None, str]:
    """Return the contributions of a new score, or ``None`` and why there are none."""
    if model is None:
        return None, why_no_model
    features = FeatureVector(*(decision["features"].get(name) for name in FeatureVector._fields))
    transaction = Transaction(
        decision["transaction_id"],
        decision["customer_id"],
        decision["amount_minor"],
        decision["currency"],
        decision["event_time_ms"],
        decision["merchant"],
        decision["category"],
        channel=decision["channel"],
        country=decision["country"],
        terminal=decision.get("terminal"),
        device=decision.get("device"),
        card=decision.get("card"),
        ip=decision.get("ip"),
    )
    if own is not None:
        own.use(decision["features"], transaction)
    try:
        again = model.score(features, transaction)
    except InputsNotReady:
        return None, f"{model.version} has inputs of merchants, which decisions do not record; alerts have the shares"
    recorded = decision["ml_score"] or 0.0
    if not isclose(again, recorded, abs_tol=SAME_SCORE):
        differs = f"{model.version} scores {again:.4f} now, but {recorded:.4f} is recorded"
        return None, f"{differs}: it is another model, or this release computes different features"
    return model.contributions(features, transaction), ""


def _fired(decision: DecisionDocument, config: DetectionConfig) -> list[FiredRule]:
    by_code = {rule.code: rule for rule in RULES}
    fired = []
    for reason in decision["reasons"]:
        if reason["code"] == ReasonCode.MODEL_ANOMALY or reason["code"] not in by_code:
            continue
        rule = by_code[ReasonCode(reason["code"])]
        setting = config.rules[rule.id]
        value = decision["features"].get(rule.feature)
        unit = INPUT_SPECS[rule.feature].unit
        fired.append(
            FiredRule(
                rule.id, rule.code, rule.feature, value, setting.threshold, unit, setting.weight,
                reason["contribution"],
            )
        )  # fmt: skip
    return fired


def _shares(
    decision: DecisionDocument, contributions: Mapping[str, float], own: OwnValues | None
) -> list[FeatureShare]:
    shares, specs = [], dict(INPUT_SPECS)
    specs |= {item.spec.name: item.spec for item in (() if own is None else own.features.features)}
    for name, adds in sorted(contributions.items(), key=lambda item: -abs(item[1])):
        spec = specs.get(name)
        unit, meaning = ("", "") if spec is None else (spec.unit, spec.meaning)
        absent = decision["absent"].get(name)
        shares.append(FeatureShare(name, decision["features"].get(name), absent, unit, meaning, adds))
    return shares
