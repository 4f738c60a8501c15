"""One side of a comparison: a configuration and a model, applied to features as they were served."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import FraudRuleEvaluator
from flink_jobs.core.scoring import blend

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.features.vector import FeatureVector
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.transaction import Transaction


class Decided(NamedTuple):
    """What one side says of a transaction."""

    score: float
    is_alert: bool
    rule_score: float
    ml_score: float | None
    reasons: tuple[ReasonCode, ...]
    """Largest contribution first."""


class Side:
    """Decides features; the rules of a configuration are compiled once, however many decisions were made under it."""

    def __init__(self, model: Model | None = None, *, retest_blacklist: bool = False) -> None:
        """Choose the model; without one, the model score that was recorded stands.

        Args:
            model: scores instead of the recorded score.
            retest_blacklist: look the transaction up in the configuration's blacklist instead of taking the recorded
                feature: only a changed blacklist needs it.
        """
        self._model = model
        self._retest_blacklist = retest_blacklist
        self._rules: dict[int, tuple[DetectionConfig, FraudRuleEvaluator]] = {}

    def decide(
        self, transaction: Transaction, features: FeatureVector, ml_score: float | None, config: DetectionConfig
    ) -> Decided:
        """Decide one transaction.

        Args:
            transaction: as recorded or read from a file.
            features: as served.
            ml_score: what was recorded of a model, None where there was none.
            config: rules, blend and threshold to decide under.
        """
        if self._retest_blacklist:
            features = features._replace(is_blacklisted=float(config.blacklist.matches(transaction)))
        if self._model is not None:
            ml_score = self._model.score(features, transaction)
        verdict = self._evaluator(config).evaluate(features)
        score = blend(verdict, ml_score, config.alpha)
        reasons = tuple(code for code, _ in score.reasons)
        return Decided(score.score, score.score >= config.alert_threshold, verdict.score, ml_score, reasons)

    def _evaluator(self, config: DetectionConfig) -> FraudRuleEvaluator:
        known = self._rules.get(id(config))
        if known is None:
            known = self._rules[id(config)] = config, FraudRuleEvaluator(config.rules)  # the entry keeps the id alive
        return known[1]
