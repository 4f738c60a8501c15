"""Formats the numbers of an evaluation in the same way for the terminal, the page and the model card."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flink_jobs.core.models.own_use import range_of
from flink_jobs.core.models.threshold_choice import ThresholdRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flink_jobs.core.models.manifest import ModelManifest
    from flink_jobs.core.models.threshold_choice import ThresholdChoice, ThresholdRow
    from ml.evaluation.bootstrap import Estimate
    from ml.evaluation.calibration import Calibration
    from ml.evaluation.document import EvaluationDocument
    from ml.evaluation.evaluation import Evaluation, ScoreReport
    from ml.evaluation.importance import InputImportance
    from ml.evaluation.over_time import Period
    from ml.evaluation.segments import Group
    from ml.stress.result import StressTest

BLEND_COLUMNS = (
    "model", "alpha", "set by", "alert threshold", "threshold set by", "alerts a day", "precision", "recall",
)  # fmt: skip
PROBABILITY_COLUMNS = ("model", "Brier", "calibration error", "frauds expected", "frauds")
RELIABILITY_COLUMNS = ("probability of fraud", "rows", "mean probability", "fraud rate")
PERIOD_COLUMNS = ("from", "days", "rows", "frauds", "alerts", "precision", "recall", "average precision")
IMPORTANCE_COLUMNS = ("input", "average precision lost")
STRESS_COLUMNS = ("scenario", "alerts a day", "precision", "recall", "average precision", "mean change of score")
OWN_COLUMNS = ("own feature", "unit", "range", "meaning", "absent", "module and version")
THRESHOLD_COLUMNS = (
    "alert threshold", "alerts a day", "precision", "recall", "missed fraud a day (amount)", "cost a day",
)  # fmt: skip
GROUP_COLUMNS = (
    "group", "rows", "customers", "frauds", "alerts", "alert rate", "recall", "precision", "false-positive rate",
)  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """Format a number; an undefined number is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_interval(estimate: Estimate, digits: int = 3) -> str:
    """Format a number and its interval.

    >>> from ml.evaluation.bootstrap import Estimate
    >>> with_interval(Estimate(0.91, 0.9, 0.925)), with_interval(Estimate(None, None, None))
    ('0.910 (0.900 to 0.925)', '-')
    """
    if estimate.value is None or estimate.low is None:
        return number(estimate.value, digits)
    return f"{number(estimate.value, digits)} ({number(estimate.low, digits)} to {number(estimate.high, digits)})"


def score_columns(judged: Evaluation) -> tuple[str, ...]:
    """Return the column names of ``score_row``."""
    return (
        "score", "ROC AUC", "average precision", f"gain over {judged.baseline}",
        f"card precision at {judged.options.cards_per_day}", "recall at budget",
        "precision at budget", "Brier", "calibration error",
    )  # fmt: skip


def score_row(report: ScoreReport, baseline: str) -> tuple[str, ...]:
    """Return the cells of one contender for ``score_columns``."""
    return (
        report.name,
        with_interval(report.roc_auc),
        with_interval(report.average_precision),
        "" if report.name == baseline else with_interval(report.average_precision_gain),
        with_interval(report.card_precision),
        with_interval(report.recall_at_budget),
        with_interval(report.precision_at_budget),
        with_interval(report.calibration.brier),
        with_interval(report.calibration.expected_calibration_error),
    )


def blend_rows(document: EvaluationDocument) -> list[tuple[str, ...]]:
    """Return one row of ``BLEND_COLUMNS`` for each model: its alpha and threshold in force, and its alerts."""
    return [
        (
            name,
            f"{blend.in_force.alpha:g}",
            blend.in_force.alpha_from,
            number(blend.in_force.threshold),
            blend.in_force.threshold_from,
            number(blend.alerts_per_day, 1),
            number(blend.precision),
            number(blend.recall),
        )
        for name, blend in document.blends.items()
    ]


def probability_rows(document: EvaluationDocument) -> list[tuple[str, ...]]:
    """Return one row of ``PROBABILITY_COLUMNS`` for each model with a probability of fraud."""
    return [
        (name, *probability_row(blend.probability))
        for name, blend in document.blends.items()
        if blend.probability is not None
    ]


def probability_row(error: Calibration) -> tuple[str, ...]:
    """Return the cells of a probability of fraud for ``PROBABILITY_COLUMNS``, without the name of the model."""
    bins = [one for one in error.reliability if one.rows]
    expected = sum(one.rows * (one.mean_score or 0.0) for one in bins)
    frauds = sum(one.rows * (one.fraud_rate.value or 0.0) for one in bins)
    return (
        with_interval(error.brier, 4),
        with_interval(error.expected_calibration_error, 4),
        f"{expected:,.0f}",
        f"{frauds:,.0f}",
    )


def reliability_rows(error: Calibration) -> list[tuple[str, ...]]:
    """Return the rows of ``RELIABILITY_COLUMNS``; bins without rows are left out."""
    return [
        (f"{one.low:g} to {one.high:g}", f"{one.rows:,}", number(one.mean_score, 4), with_interval(one.fraud_rate, 4))
        for one in error.reliability
        if one.rows
    ]


def threshold_rows(rows: Iterable[ThresholdRow]) -> list[tuple[str, ...]]:
    """Return the rows of ``THRESHOLD_COLUMNS``; an arrow marks the threshold that was chosen or is in force."""
    return [
        (
            f"{number(row.threshold)}{' ←' if row.is_chosen else ''}",
            number(row.alerts_per_day, 1),
            number(row.precision),
            number(row.recall),
            f"{row.missed_per_day:,.0f}",
            "-" if row.cost_per_day is None else f"{row.cost_per_day:,.0f}",
        )
        for row in rows
    ]


def period_rows(periods: Iterable[Period]) -> list[tuple[str, ...]]:
    """Return the rows of ``PERIOD_COLUMNS``."""
    return [
        (
            day(one.first_event_time_ms),
            *(f"{count:,}" for count in (one.days, one.rows, one.frauds, one.alerts)),
            *(number(value) for value in (one.precision, one.recall, one.average_precision)),
        )
        for one in periods
    ]


def importance_rows(importance: Iterable[InputImportance]) -> list[tuple[str, ...]]:
    """Return the rows of ``IMPORTANCE_COLUMNS``."""
    return [(one.name, number(one.loss)) for one in importance]


def stress_rows(stress: StressTest) -> list[tuple[str, ...]]:
    """Return the rows of ``STRESS_COLUMNS``, without scenarios that were not computed."""
    return [
        (
            one.name,
            number(one.alerts_per_day, 1),
            *(number(value) for value in (one.precision, one.recall, one.average_precision)),
            "-" if one.score_change is None else f"{one.score_change:+.4f}",
        )
        for one in stress.results
        if one.not_computed is None
    ]


def stress_gaps(stress: StressTest) -> list[tuple[str, str]]:
    """Return name and reason of each scenario that was not computed."""
    return [(one.name, one.not_computed) for one in stress.results if one.not_computed is not None]


def stress_facts(stress: StressTest) -> str:
    """Return one line about the sample of the stress scenarios."""
    return (
        "Each scenario changes all purchases from the first judged row on; model, blend and threshold stay. Estimated "
        f"on a sample of {stress.rows:,} judged rows of {stress.customers:,} customers (seed {stress.seed}), weighted "
        "to all judged rows"
    )


def own_rows(manifest: ModelManifest) -> list[tuple[str, ...]]:
    """Return the rows of ``OWN_COLUMNS``: the own features that a model takes; empty without any."""
    return [
        (one.name, one.unit, range_of(one.low, one.high), one.meaning, one.absent, module.label)
        for module in manifest.own_features or ()
        for one in module.features
    ]


def rule_in_words(choice: ThresholdChoice) -> str:
    """Return the rule that chose a threshold.

    >>> from flink_jobs.core.models.threshold_choice import ThresholdChoice, ThresholdRule
    >>> rule_in_words(ThresholdChoice(ThresholdRule.REVIEW_COST, 50.0, 12.5, ()))
    'lowest cost with 12.5 for a review, at most 50 alerts a day'
    """
    budget = "" if choice.alerts_per_day is None else f"at most {choice.alerts_per_day:g} alerts a day"
    if choice.rule == ThresholdRule.SAME_ALERTS:
        return "as many alerts as the default blend"
    if choice.rule == ThresholdRule.ALERT_BUDGET:
        return budget
    cost = f"lowest cost with {choice.review_cost:g} for a review"
    return f"{cost}, {budget}" if budget else cost


def day(time_ms: int) -> str:
    """Return the UTC day of a time in milliseconds, as ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).date().isoformat()


def facts(evaluation: Evaluation) -> str:
    """Return one line about the judged rows: numbers, period and budgets."""
    judged = evaluation
    return (
        f"{judged.rows:,} labelled transactions of {judged.customers:,} customers, "
        f"{day(judged.first_event_time_ms)} to {day(judged.last_event_time_ms)} ({judged.days} days), "
        f"{judged.frauds:,} of them fraud ({judged.frauds / judged.rows:.2%}); "
        f"budgets: {judged.options.alerts_per_day} alerts and {judged.options.cards_per_day} cards a day"
    )


def resampling(evaluation: Evaluation) -> str:
    """Return one line about the source of the intervals."""
    options = evaluation.options
    if not options.resamples:
        return "no intervals, because the number of resamples is 0"
    return f"95 % intervals from {options.resamples:,} resamples of customers, seed {options.seed}"


def group_row(group: Group) -> tuple[str, ...]:
    """Return the cells of one group for ``GROUP_COLUMNS``; a dagger marks a small group."""
    return (
        f"{group.name} †" if group.is_small else group.name,
        *(f"{count:,}" for count in (group.rows, group.customers, group.frauds, group.alerts)),
        with_interval(group.alert_rate, 4),
        with_interval(group.recall),
        with_interval(group.precision),
        with_interval(group.false_positive_rate, 4),
    )


SMALL_GROUP = (
    "† small group: fewer than 20 frauds, 200 rows or 10 customers. Use the interval; the number alone is not reliable."
)
