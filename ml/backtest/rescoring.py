"""Scores served features again, with another configuration or another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import FraudRuleEvaluator
from flink_jobs.core.scoring import Blender, OwnBlend

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.features.vector import FeatureVector
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.transaction import Transaction


class Scored(NamedTuple):
    """Score and alert of one transaction under one setup."""

    score: float
    is_alert: bool
    rule_score: float
    ml_score: float | None
    reasons: tuple[ReasonCode, ...]
    """Largest contribution first."""


class Rescorer:
    """Scores features; compiles the rules and the blend of each configuration once."""

    def __init__(self, model: Model | None = None, *, retest_blacklist: bool = False) -> None:
        """Choose the model.

        Args:
            model: its score replaces the recorded model score; None keeps the recorded score.
            retest_blacklist: whether to look the transaction up in the configuration's blacklist instead of using the
                recorded feature. Needed only when the blacklist changes.
        """
        self._model = model
        self._retest_blacklist = retest_blacklist
        self._rules: dict[int, tuple[DetectionConfig, FraudRuleEvaluator, Blender]] = {}

    def score(
        self,
        transaction: Transaction,
        features: FeatureVector,
        ml_score: float | None,
        config: DetectionConfig,
        own: OwnBlend | None = None,
    ) -> Scored:
        """Return the score and the alert of one transaction.

        Args:
            transaction: recorded, or read from a file.
            features: features as served.
            ml_score: recorded model score; None where no model scored.
            config: rules, blend and alert threshold.
            own: the own blend of the model that gave ``ml_score``.
        """
        if self._retest_blacklist:
            features = features._replace(is_blacklisted=float(config.blacklist.matches(transaction)))
        if self._model is not None:
            ml_score, own = self._model.score(features, transaction), self._model.own_blend
        rules, blender = self._compiled(config)
        verdict = rules.evaluate(features)
        score, threshold = blender.score(verdict, ml_score, own)
        reasons = tuple(code for code, _ in score.reasons)
        return Scored(score.score, score.score >= threshold, verdict.score, ml_score, reasons)

    def _compiled(self, config: DetectionConfig) -> tuple[FraudRuleEvaluator, Blender]:
        known = self._rules.get(id(config))
        if known is None:
            # The entry keeps the id alive.
            known = self._rules[id(config)] = config, FraudRuleEvaluator(config.rules), Blender(config)
        return known[1:]
