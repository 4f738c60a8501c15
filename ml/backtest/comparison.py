"""Counts how two setups differ on the same transactions, and keeps the examples with the largest change of score."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from flink_jobs.core.reasons import ReasonCode

if TYPE_CHECKING:
    from flink_jobs.core.transaction import Transaction
    from ml.backtest.rescoring import Scored

EXAMPLES: Final = 10


@dataclass(slots=True)
class AlertCount:
    """Number of alerts, and their labels."""

    alerts: int = 0
    fraud: int = 0
    genuine: int = 0

    def add(self, is_fraud: bool | None) -> None:  # noqa: FBT001 - the label itself
        """Count one alert under its label."""
        self.alerts += 1
        self.fraud += is_fraud is True
        self.genuine += is_fraud is False

    @property
    def precision(self) -> float | None:
        """Share of frauds among the labelled alerts; None without labelled alerts."""
        labelled = self.fraud + self.genuine
        return self.fraud / labelled if labelled else None


class Example(NamedTuple):
    """A transaction that is an alert under exactly one of the setups."""

    transaction: Transaction
    before: Scored
    after: Scored
    is_fraud: bool | None


@dataclass(slots=True)
class Comparison:
    """Differences of two setups, the first called before and the second after.

    Attributes:
        decisions: transactions compared.
        frauds: transactions labelled fraud.
        labelled: transactions with a label.
        changed_scores: transactions whose two scores differ at all.
        largest_change: largest absolute difference of two scores.
        before: alerts of the first setup.
        after: alerts of the second setup.
        kept: alerts of both setups.
        gained: alerts of the second setup only.
        lost: alerts of the first setup only.
        rules_before: by reason code, the alerts of the first setup that give this reason.
        rules_after: by reason code, the alerts of the second setup that give this reason.
        degraded: transactions without a model score, under ``before`` and ``after``.
    """

    decisions: int = 0
    frauds: int = 0
    labelled: int = 0
    changed_scores: int = 0
    largest_change: float = 0.0
    before: AlertCount = field(default_factory=AlertCount)
    after: AlertCount = field(default_factory=AlertCount)
    kept: AlertCount = field(default_factory=AlertCount)
    gained: AlertCount = field(default_factory=AlertCount)
    lost: AlertCount = field(default_factory=AlertCount)
    rules_before: dict[ReasonCode, AlertCount] = field(default_factory=dict)
    rules_after: dict[ReasonCode, AlertCount] = field(default_factory=dict)
    degraded: Counter[str] = field(default_factory=Counter)
    _gained: list[tuple[float, int, Example]] = field(default_factory=list)
    _lost: list[tuple[float, int, Example]] = field(default_factory=list)

    def add(self, transaction: Transaction, before: Scored, after: Scored, is_fraud: bool | None) -> None:  # noqa: FBT001
        """Count one transaction."""
        self.decisions += 1
        self.frauds += is_fraud is True
        self.labelled += is_fraud is not None
        if before.score != after.score:
            self.changed_scores += 1
            self.largest_change = max(self.largest_change, abs(after.score - before.score))
        self.degraded["before"] += before.ml_score is None
        self.degraded["after"] += after.ml_score is None
        for decided, total, rules in ((before, self.before, self.rules_before), (after, self.after, self.rules_after)):
            if decided.is_alert:
                total.add(is_fraud)
                for reason in decided.reasons:
                    rules.setdefault(reason, AlertCount()).add(is_fraud)
        if before.is_alert and after.is_alert:
            self.kept.add(is_fraud)
        elif after.is_alert:
            self.gained.add(is_fraud)
            self._keep(self._gained, Example(transaction, before, after, is_fraud))
        elif before.is_alert:
            self.lost.add(is_fraud)
            self._keep(self._lost, Example(transaction, before, after, is_fraud))

    def gained_examples(self) -> list[Example]:
        """Return the gained alerts with the largest change of score, largest change first."""
        return [example for *_, example in sorted(self._gained, key=lambda one: (-one[0], -one[1]))]

    def lost_examples(self) -> list[Example]:
        """Return the lost alerts with the largest change of score, largest change first."""
        return [example for *_, example in sorted(self._lost, key=lambda one: (-one[0], -one[1]))]

    def _keep(self, heap: list[tuple[float, int, Example]], example: Example) -> None:
        # The number of decisions breaks ties: the heap never compares transactions, and keeps the earlier one.
        entry = (abs(example.after.score - example.before.score), -self.decisions, example)
        if len(heap) < EXAMPLES:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
