"""The gate before a promotion: its checks and the reasons for a refusal. It computes on numbers only, without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class GateBounds:
    """Limits that a model must meet."""

    tolerance: float = 0.005
    """Largest allowed deficit of average precision and of ROC AUC compared with the champion."""
    max_alert_rate_ratio: float = 3.0
    """Largest allowed ratio between the alert rates of the model and the champion, in either direction."""
    max_score_us: float = 500.0
    """Largest allowed median scoring time, microseconds, measured on the machine that promotes."""
    min_frauds: int = 50
    """Smallest number of labelled frauds in the measured rows, which neither model was trained on."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Measures of one model on the rows that both models are measured on.

    Attributes:
        roc_auc: ROC AUC of the score blended with the rules, under the configuration in force.
        average_precision: average precision of the same score.
        alert_rate: share of the rows at or above the alert threshold that would be in force with the model.
        rows: number of rows.
        frauds: number of labelled frauds.
    """

    roc_auc: float
    average_precision: float
    alert_rate: float
    rows: int
    frauds: int


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    detail: str


NO_CHAMPION: Final = "there is no champion to compare with"


def check_speed(median_us: float, bounds: GateBounds) -> Check:
    """Compare the median scoring time with its limit."""
    return Check(
        "scoring time", median_us <= bounds.max_score_us, f"{median_us:.0f} us, at most {bounds.max_score_us:g} us"
    )


def compare(candidate: Measured, champion: Measured, bounds: GateBounds) -> list[Check]:
    """Compare a candidate with the champion, both measured on the same rows."""
    enough = candidate.frauds >= bounds.min_frauds
    checks = [
        Check(
            "evaluation",
            enough,
            f"{candidate.rows:,} rows with {candidate.frauds:,} frauds that neither was trained on; "
            f"at least {bounds.min_frauds} frauds are needed",
        )
    ]
    if not enough:
        return checks
    for name, ours, theirs in (
        ("average precision", candidate.average_precision, champion.average_precision),
        ("ROC AUC", candidate.roc_auc, champion.roc_auc),
    ):
        detail = f"{ours:.3f}, the champion {theirs:.3f}; at most {bounds.tolerance:g} below"
        checks.append(Check(name, ours >= theirs - bounds.tolerance, detail))
    checks.append(_alert_rate(candidate.alert_rate, champion.alert_rate, bounds.max_alert_rate_ratio))
    return checks


def _alert_rate(ours: float, theirs: float, most: float) -> Check:
    high, low = max(ours, theirs), min(ours, theirs)
    detail = f"{ours:.3%}, the champion {theirs:.3%}; at most {most:g} times more or less"
    return Check("alert rate", high <= most * low, detail)


def refusals(checks: list[Check]) -> list[str]:
    """Return the reasons to refuse the promotion; an empty list when all checks passed."""
    return [f"{check.name}: {check.detail}" for check in checks if not check.passed]
