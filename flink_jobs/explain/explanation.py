"""Why a transaction was decided as it was: the recorded decision, its rules under the settings of then, its model."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.core.features.table import FEATURES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.encodings import ENCODINGS
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RULES
from flink_jobs.core.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.lineup import Model

SAME_SCORE: Final = 1e-9
"""A model that is asked again must answer what it answered then, to this."""
_SPECS: Final = {spec.name: spec for spec in (*FEATURES, *ENCODINGS)}


@dataclass(frozen=True, slots=True)
class FiredRule:
    """A rule that fired, with the setting it fired under."""

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
    """What a feature did to the model's score."""

    feature: str
    value: float | None
    """``None`` where it had none (``absent`` says why), and for inputs that the model itself makes of a transaction."""
    absent: str | None
    unit: str
    meaning: str
    adds: float
    """In points of the model's score."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and its parts.

    Attributes:
        decision: as the job recorded it.
        rules: what fired, in order of contribution.
        base: the model's score before any feature, ``None`` without contributions.
        shares: what each feature adds to it, the largest first; they and ``base`` add up to ``ml_score``.
        why_no_shares: why the model's part cannot be told; empty when it can.
    """

    decision: Mapping[str, Any]
    rules: list[FiredRule]
    base: float | None
    shares: list[FeatureShare]
    why_no_shares: str


def explain(
    decision: Mapping[str, Any],
    contributions: Mapping[str, float] | None,
    config: DetectionConfig,
    model: Model | None,
    why_no_model: str,
) -> Explanation:
    """Explain a recorded decision.

    Args:
        decision: fields of the ``decisions`` contract.
        contributions: of its alert, ``None`` when it was none or the model could not tell.
        config: the settings it was decided under.
        model: the model that decided, to ask again where ``contributions`` is ``None``.
        why_no_model: why ``model`` is ``None``, if it is.
    """
    why, ml_score = "", decision["ml_score"]
    if ml_score is None:
        contributions, why = None, "no model decided: rules alone"
    elif contributions is None:
        contributions, why = _asked_again(decision, model, why_no_model)
    base = None if contributions is None else ml_score - sum(contributions.values())
    return Explanation(decision, _fired(decision, config), base, _shares(decision, contributions or {}), why)


def _asked_again(
    decision: Mapping[str, Any], model: Model | None, why_no_model: str
) -> tuple[dict[str, float] | None, str]:
    if model is None:
        return None, why_no_model
    features = FeatureVector(*(decision["features"].get(name) for name in FeatureVector._fields))
    fields = {name: decision[name] for name in Transaction._fields if name in decision}
    transaction = Transaction(**fields)
    again = model.score(features, transaction)
    if not isclose(again, decision["ml_score"], abs_tol=SAME_SCORE):
        told = f"{model.version} answers {again:.4f} now, and {decision['ml_score']:.4f} is recorded"
        return None, f"{told}: it is another model, or this release computes other features"
    return model.contributions(features, transaction), ""


def _fired(decision: Mapping[str, Any], config: DetectionConfig) -> list[FiredRule]:
    by_code = {rule.code: rule for rule in RULES}
    fired = []
    for reason in decision["reasons"]:
        if reason["code"] == ReasonCode.MODEL_ANOMALY or reason["code"] not in by_code:
            continue
        rule = by_code[ReasonCode(reason["code"])]
        setting = config.rules[rule.id]
        value = decision["features"].get(rule.feature)
        unit = _SPECS[rule.feature].unit
        fired.append(
            FiredRule(
                rule.id, rule.code, rule.feature, value, setting.threshold, unit, setting.weight,
                reason["contribution"],
            )
        )  # fmt: skip
    return fired


def _shares(decision: Mapping[str, Any], contributions: Mapping[str, float]) -> list[FeatureShare]:
    shares = []
    for name, adds in sorted(contributions.items(), key=lambda item: -abs(item[1])):
        spec = _SPECS.get(name)
        unit, meaning = ("", "") if spec is None else (spec.unit, spec.meaning)
        absent = decision["absent"].get(name)
        shares.append(FeatureShare(name, decision["features"].get(name), absent, unit, meaning, adds))
    return shares
