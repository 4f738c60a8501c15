"""The gate before a promotion: what is checked, and the reasons it refuses with. Pure: numbers in, verdicts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class GateBounds:
    """What a model must keep to."""

    tolerance: float = 0.005
    """How far average precision and ROC AUC may lie below the champion's."""
    max_alert_rate_ratio: float = 3.0
    """How many times the champion's alert rate its own may be, and the other way round."""
    max_score_us: float = 500.0
    """Median time of a score, microseconds; the promoting machine measures it."""
    min_frauds: int = 50
    """Labelled frauds that both models must be measured on, neither having seen them in training."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One model on the rows that both are measured on.

    Attributes:
        roc_auc: of the blend with the rules, under the configuration in force.
        average_precision: likewise.
        alert_rate: share of the rows at or above the alert threshold.
        rows: how many rows.
        frauds: labelled frauds among them.
    """

    roc_auc: float
    average_precision: float
    alert_rate: float
    rows: int
    frauds: int


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the gate and its answer."""

    name: str
    passed: bool
    detail: str


NO_CHAMPION: Final = "there is no champion to compare with"


def check_speed(median_us: float, bounds: GateBounds) -> Check:
    """Hold the time of a score to its bound."""
    return Check(
        "scoring time", median_us <= bounds.max_score_us, f"{median_us:.0f} us, at most {bounds.max_score_us:g} us"
    )


def compare(candidate: Measured, champion: Measured, bounds: GateBounds) -> list[Check]:
    """Hold a candidate to the champion, both measured on the same rows."""
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
    """Return the reasons to refuse, none when all passed."""
    return [f"{check.name}: {check.detail}" for check in checks if not check.passed]
