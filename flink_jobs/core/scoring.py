"""Blends a model score and a rule score into one score with its reasons.

``score = alpha * ml + (1 - alpha) * rules``. Without a model score, the score is the rule score alone: the blend would
cap every score at ``1 - alpha``, and suppress alerts just when the detector is degraded.
"""

from operator import itemgetter
from typing import Final, NamedTuple

from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RuleVerdict

MODEL_REASON_FLOOR: Final = 0.6
"""Model score from which the model is a reason; Liu et al. (2008) call an anomaly score of 0.5 ordinary."""


class Contribution(NamedTuple):
    """The share of one reason in the score, in score points."""

    code: ReasonCode
    contribution: float


class Score(NamedTuple):
    """A blended score and its reasons."""

    score: float
    """0 to 1."""
    alpha: float
    """Weight of the model in this score; 0 without a model score."""
    reasons: tuple[Contribution, ...]
    """Largest contribution first; ties keep the order of the rule table."""


def blend(verdict: RuleVerdict, ml_score: float | None, alpha: float) -> Score:
    """Return the blend of rules and model.

    The contributions of the rules add up to ``(1 - alpha) * verdict.score``: where the rule score is capped at 1, each
    is scaled down. The model's contribution is ``alpha * ml_score``; it is listed from ``MODEL_REASON_FLOOR`` on.

    >>> from flink_jobs.core.rules import RuleHit
    >>> blend(RuleVerdict(0.5, (RuleHit(ReasonCode.HIGH_AMOUNT, 0.5),)), 0.8, 0.5)
    ... # doctest: +NORMALIZE_WHITESPACE
    Score(score=0.65, alpha=0.5, reasons=(Contribution(code=<ReasonCode.MODEL_ANOMALY: 'MODEL_ANOMALY'>,
    contribution=0.4), Contribution(code=<ReasonCode.HIGH_AMOUNT: 'HIGH_AMOUNT'>, contribution=0.25)))
    """
    if ml_score is None:
        alpha = 0.0
        score = verdict.score
    else:
        score = alpha * ml_score + (1.0 - alpha) * verdict.score
    model_is_reason = ml_score is not None and alpha > 0.0 and ml_score >= MODEL_REASON_FLOOR
    if not verdict.hits and not model_is_reason:
        return Score(score, alpha, ())
    total = sum(hit.weight for hit in verdict.hits)
    share = (1.0 - alpha) * verdict.score / total if total else 0.0
    reasons = [Contribution(hit.code, hit.weight * share) for hit in verdict.hits]
    if ml_score is not None and model_is_reason:
        reasons.append(Contribution(ReasonCode.MODEL_ANOMALY, alpha * ml_score))
    reasons.sort(key=itemgetter(1), reverse=True)
    return Score(score, alpha, tuple(reasons))
