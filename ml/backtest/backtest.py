"""Runs a backtest over recorded decisions, or over the transactions of a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import replay_features
from ml.backtest.comparison import Comparison
from ml.backtest.rescoring import Decided, Side
from ml.dataset import FRAUD, UNKNOWN

if TYPE_CHECKING:
    from flink_jobs.core.models.lineup import Model
    from ml.backtest.settings_file import Settings
    from ml.dataset import Feed
    from ml.history.configurations import Configurations
    from ml.history.decisions import RecordedDecision


@dataclass(frozen=True, slots=True)
class Plan:
    """One side: what to change of the settings, and which model to score with.

    Attributes:
        settings: changes; None: none.
        model: None: the recorded model score for recorded decisions, no model for a file.
    """

    settings: Settings | None = None
    model: Model | None = None

    def on(self, config: DetectionConfig) -> DetectionConfig:
        """Return the configuration with the changes."""
        return config if self.settings is None else self.settings.on(config)


def backtest_decisions(decisions: Iterable[RecordedDecision], configurations: Configurations, plan: Plan) -> Comparison:
    """Decide recorded decisions again, each under the settings that were in force then and the plan's changes to them.

    With an empty plan every score must come out exactly as it was recorded.

    Raises:
        UserError: the control audit does not know the settings of a decision.
    """
    side = Side(plan.model, retest_blacklist=plan.settings is not None and plan.settings.has_blacklist)
    changed: dict[int, tuple[DetectionConfig, DetectionConfig]] = {}
    comparison = Comparison()
    for one in decisions:
        before = Decided(one.score, one.is_alert, one.rule_score, one.ml_score, one.reasons)
        in_force = configurations.at(one.config_revision, one.processing_time_ms)
        known = changed.get(id(in_force))
        if known is None:
            known = changed[id(in_force)] = in_force, plan.on(in_force)  # the entry keeps the id alive
        after = side.decide(one.transaction, one.features, one.ml_score, known[1])
        comparison.add(one.transaction, before, after, one.is_fraud)
    return comparison


def backtest_events(feed: Feed, before: Plan, after: Plan) -> Comparison:
    """Decide the transactions of a file under two plans, both on the settings a job starts with.

    Features are replayed as in the stream; only the blacklists of the plans tell them apart.
    """
    configs = before.on(DetectionConfig()), after.on(DetectionConfig())
    sides = Side(before.model, retest_blacklist=True), Side(after.model, retest_blacklist=True)
    comparison = Comparison()
    for transaction, features in replay_features(feed):
        first, second = (
            side.decide(transaction, features, None, config) for side, config in zip(sides, configs, strict=True)
        )
        is_fraud = None if feed.label == UNKNOWN else feed.label == FRAUD
        comparison.add(transaction, first, second, is_fraud)
    return comparison
