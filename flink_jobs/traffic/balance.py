"""Reconciles sent records with their outcomes, record by record, and measures the detection."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from flink_jobs.kafka.broker import Broker
from flink_jobs.traffic.ledger import FATE_OF_CODE, NOTHING, Coordinate, SentLedger
from flink_jobs.traffic.outcomes import OutcomeReader, Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flink_jobs.kafka.consumer import Position

SHOWN = 10
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Detection:
    """Counts of alerts and frauds over the labelled decisions.

    ``patterns`` holds, for each planted fraud pattern, the number sent and the number of these that raised an alert.
    """

    true_alerts: int
    false_alerts: int
    missed_frauds: int
    labelled: int
    patterns: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """Return the share of frauds that raised an alert, 0 to 1; None without frauds."""
        frauds = self.true_alerts + self.missed_frauds
        return self.true_alerts / frauds if frauds else None

    @property
    def precision(self) -> float | None:
        """Return the share of alerts that are frauds, 0 to 1; None without alerts."""
        alerts = self.true_alerts + self.false_alerts
        return self.true_alerts / alerts if alerts else None


@dataclass(frozen=True, slots=True)
class Balance:
    """The reconciliation of one run.

    Attributes:
        sent: records delivered to Kafka.
        decided: records with a decision.
        rejected: records with a dead letter in place of a decision.
        duplicates: redelivered records, which get a dead letter and no second decision.
        missing: coordinates without an outcome.
        repeated: coordinates with more than one outcome.
        repeated_transactions: decisions on a transaction that was decided before.
        unexpected: counts of outcomes that differ from the planned one, by ``OUTCOME instead of PLANNED``.
        problems: dead letters with a wrong reason or without the record's exact bytes.
        alerts: decisions that are alerts.
        alerts_missing: decisions that are alerts and are not on the alerts topic.
        alerts_repeated: alerts that are on the alerts topic more than once; at-least-once delivery allows it.
        alerts_withdrawn: transactions with an alert on the topic whose decision is no alert: after a failure, the
            record was scored again under other settings.
        incidents: dead letters that accompany a decision.
        degraded: decisions without a model score.
        reasons: dead letters by reason.
        detection: comparison with the labels; None without labels.
    """

    sent: int
    decided: int
    rejected: int
    duplicates: int
    missing: tuple[Coordinate, ...] = ()
    repeated: tuple[Coordinate, ...] = ()
    repeated_transactions: int = 0
    unexpected: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    alerts: int = 0
    alerts_missing: int = 0
    alerts_repeated: int = 0
    alerts_withdrawn: int = 0
    incidents: int = 0
    degraded: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    detection: Detection | None = None

    @property
    def is_balanced(self) -> bool:
        """Return whether every record has exactly one outcome and every alert is on its topic at least once."""
        exact = not (self.missing or self.repeated or self.repeated_transactions)
        return exact and not self.alerts_missing and self.sent == self.decided + self.rejected + self.duplicates

    @property
    def is_as_expected(self) -> bool:
        """Return whether the run is balanced and every outcome is the planned one."""
        return self.is_balanced and not self.unexpected and not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return the reconciliation for JSON output."""
        result = asdict(self)
        result["balanced"] = self.is_balanced
        result["as_expected"] = self.is_as_expected
        if self.detection is not None:
            result["detection"]["recall"] = self.detection.recall
            result["detection"]["precision"] = self.detection.precision
            result["detection"]["patterns"] = {
                name: {"sent": sent, "alerts": alerts} for name, (sent, alerts) in self.detection.patterns.items()
            }
        return result

    def lines(self) -> list[str]:
        """Return the reconciliation as lines of text."""
        verdict = "every record accounted for" if self.is_balanced else "NOT EVERY RECORD ACCOUNTED FOR"
        total = f"sent {self.sent:,} = decided {self.decided:,} + rejected {self.rejected:,}"
        lines = [f"{total} + duplicates {self.duplicates:,}: {verdict}"]
        checks = (
            ("without an outcome", len(self.missing), _places(self.missing)),
            ("with more than one outcome", len(self.repeated), _places(self.repeated)),
            ("decisions on a transaction that was decided before", self.repeated_transactions, ""),
            ("alerts missing from the alerts topic", self.alerts_missing, ""),
            ("alerts more than once on the alerts topic, as after a failure", self.alerts_repeated, ""),
            ("transactions with an alert whose decision, made again, is no alert", self.alerts_withdrawn, ""),
        )
        lines += [f"  {count:,} {what}{places}" for what, count, places in checks if count]
        lines += [f"  {count:,} times {what}" for what, count in sorted(self.unexpected.items())]
        lines += [f"  {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  and {len(self.problems) - SHOWN:,} more of these")
        lines.append(
            f"alerts {self.alerts:,}, incidents {self.incidents:,}, scored without the model {self.degraded:,}"
        )
        if self.reasons:
            lines.append("dead letters: " + ", ".join(f"{key} {count:,}" for key, count in self.reasons.items()))
        if self.detection is not None:
            lines += _detection_lines(self.detection)
        return lines


def balance(ledger: SentLedger, outcomes: Outcomes) -> Balance:
    """Compare the sent records with their outcomes."""
    missing: list[Coordinate] = []
    unexpected: Counter[str] = Counter()
    for at in ledger.expected.coordinates():
        expected, got = ledger.expected.get(at), outcomes.seen.get(at)
        if got == NOTHING:
            missing.append(at)
        elif got != expected:
            unexpected[f"{FATE_OF_CODE[got].value} instead of {FATE_OF_CODE[expected].value}"] += 1
    alerts = outcomes.alerts_decided
    return Balance(
        sent=ledger.sent,
        decided=outcomes.fates["decided"],
        rejected=outcomes.fates["rejected"],
        duplicates=outcomes.fates["duplicate"],
        missing=tuple(missing),
        repeated=tuple(at for at, _ in outcomes.repeated),
        repeated_transactions=outcomes.repeated_transactions,
        unexpected=dict(unexpected),
        problems=tuple(outcomes.problems),
        alerts=len(alerts),
        alerts_missing=len(alerts - outcomes.alerts_sent.keys()),
        alerts_repeated=len(outcomes.alerts_repeated()),
        alerts_withdrawn=len(outcomes.alerts_withdrawn()),
        incidents=outcomes.incidents,
        degraded=outcomes.degraded,
        reasons=dict(sorted(outcomes.reasons.items())),
        detection=_detection(ledger, outcomes) if ledger.labelled else None,
    )


def await_balance(
    broker: Broker,
    prefix: str,
    ledger: SentLedger,
    *,
    limit_s: float,
    start: Mapping[Position, int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Balance:
    """Read the output topics until every record has an outcome and every alert is on its topic, then reconcile.

    Args:
        broker: address of Kafka and login.
        prefix: prefix of the topics.
        ledger: the sent records.
        limit_s: reconcile as things are after this time without a new outcome, in seconds.
        start: first offsets to read (see ``output_ends``); None: the beginning of the topics.
        on_progress: called with the outcomes so far and the records sent.
    """
    reader = OutcomeReader(broker, prefix, ledger, start)
    try:
        answered, since = -1, time.monotonic()
        while True:
            outcomes = reader.read()
            if outcomes.answered != answered:
                answered, since = outcomes.answered, time.monotonic()
            if on_progress is not None:
                on_progress(answered, ledger.sent)
            # An alert is sent before its decision is committed, but the reader may see their topics in any order.
            complete = answered >= ledger.sent and outcomes.alerts_decided <= outcomes.alerts_sent.keys()
            if complete or time.monotonic() - since > limit_s:
                return balance(ledger, outcomes)
            time.sleep(POLL_S)
    finally:
        reader.close()


def _detection(ledger: SentLedger, outcomes: Outcomes) -> Detection:
    """Count over valid records: a malformed record cannot raise an alert, a redelivered one was counted before."""
    caught = outcomes.alerted & ledger.frauds.keys()
    patterns: dict[str, tuple[int, int]] = {}
    for at, pattern in sorted(ledger.frauds.items()):
        if pattern is not None:
            sent, alerts = patterns.get(pattern, (0, 0))
            patterns[pattern] = (sent + 1, alerts + (at in caught))
    return Detection(
        true_alerts=len(caught),
        false_alerts=len(outcomes.alerted) - len(caught),
        missed_frauds=len(ledger.frauds) - len(caught),
        labelled=ledger.labelled,
        patterns=dict(sorted(patterns.items())),
    )


def _detection_lines(detection: Detection) -> list[str]:
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{share:.1%}"

    found = f"{detection.true_alerts:,} of {detection.true_alerts + detection.missed_frauds:,}"
    lines = [
        f"frauds that raised an alert (recall): {found} ({percent(detection.recall)})",
        f"alerts that are fraud (precision): {percent(detection.precision)}",
    ]
    if detection.patterns:
        shown = (f"{name} {alerts:,}/{sent:,}" for name, (sent, alerts) in detection.patterns.items())
        lines.append("  by pattern: " + ", ".join(shown))
    return lines


def _places(coordinates: tuple[Coordinate, ...]) -> str:
    shown = ", ".join(f"{partition}@{offset}" for partition, offset in coordinates[:SHOWN])
    return f" (partition@offset: {shown}{', ...' if len(coordinates) > SHOWN else ''})" if coordinates else ""
