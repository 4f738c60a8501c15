"""Runs a backtest on recorded decisions, or on the transactions of a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.replay import replay_features
from flink_jobs.core.scoring import OwnBlend
from ml.backtest.comparison import Comparison
from ml.backtest.rescoring import Rescorer, Scored
from ml.dataset import FRAUD, UNKNOWN

if TYPE_CHECKING:
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.own_features.values import OwnValues
    from ml.backtest.rule_set import RuleSetChanges
    from ml.dataset import Feed
    from ml.history.configurations import Configurations
    from ml.history.decisions import RecordedDecision


@dataclass(frozen=True, slots=True)
class Setup:
    """One of the two setups that a backtest compares.

    Attributes:
        changes: changes to the rule set; None: no changes.
        model: model that scores. None: recorded decisions keep their recorded model score, and a file has no model
            score.
    """

    changes: RuleSetChanges | None = None
    model: Model | None = None

    def on(self, config: DetectionConfig) -> DetectionConfig:
        """Return the configuration with the changes."""
        return config if self.changes is None else self.changes.on(config)


def backtest_decisions(
    decisions: Iterable[RecordedDecision],
    configurations: Configurations,
    setup: Setup,
    own: OwnValues | None = None,
) -> Comparison:
    """Score recorded transactions again, each under the configuration in force at that time with the setup's changes.

    With an empty setup every score equals the recorded score exactly. A model that was loaded with ``own`` gets the own
    features as served.

    Raises:
        UserError: the control audit lacks the configuration of a decision.
    """
    retest = setup.changes is not None and setup.changes.has_blacklist
    rescorer = Rescorer(setup.model, retest_blacklist=retest)
    changed: dict[int, tuple[DetectionConfig, DetectionConfig]] = {}
    comparison = Comparison()
    for one in decisions:
        if own is not None:
            own.use(one.own, one.transaction)
        before = Scored(one.score, one.is_alert, one.rule_score, one.ml_score, one.reasons)
        in_force = configurations.at(one.config_revision, one.processing_time_ms)
        known = changed.get(id(in_force))
        if known is None:
            known = changed[id(in_force)] = in_force, setup.on(in_force)  # the entry keeps the id alive
        after = rescorer.score(one.transaction, one.features, one.ml_score, known[1], _own_blend(one, in_force))
        comparison.add(one.transaction, before, after, one.is_fraud)
    return comparison


def _own_blend(one: RecordedDecision, in_force: DetectionConfig) -> OwnBlend | None:
    """Return the blend that the model brought along: the decision records it, and it differs from the configuration."""
    if (one.alpha, one.threshold) == (in_force.alpha, in_force.alert_threshold):
        return None
    return OwnBlend(one.alpha, one.threshold)


def backtest_events(feed: Feed, before: Setup, after: Setup, own: OwnValues | None = None) -> Comparison:
    """Score the transactions of a file under two setups, both based on the configuration that a job starts with.

    Features are computed as in the stream, own features by ``own``, with which the models were loaded. Both
    setups see the same features, except for their blacklists.
    """
    configs = before.on(DetectionConfig()), after.on(DetectionConfig())
    rescorers = Rescorer(before.model, retest_blacklist=True), Rescorer(after.model, retest_blacklist=True)
    comparison = Comparison()
    for transaction, features in replay_features(feed, own=own):
        first, second = (
            rescorer.score(transaction, features, None, config)
            for rescorer, config in zip(rescorers, configs, strict=True)
        )
        is_fraud = None if feed.label == UNKNOWN else feed.label == FRAUD
        comparison.add(transaction, first, second, is_fraud)
    return comparison
