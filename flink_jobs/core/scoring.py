"""Blends a model score and a rule score into one score with its reasons.

``score = alpha * ml + (1 - alpha) * rules``. Without a model score, the score is the rule score alone: the blend would
cap every score at ``1 - alpha``, and suppress alerts just when the detector is degraded.
"""

from operator import itemgetter
from typing import Final, NamedTuple

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RuleVerdict

MODEL_REASON_FLOOR: Final = 0.6
"""Model score from which the model is a reason; Liu et al. (2008) call an anomaly score of 0.5 ordinary."""


class Contribution(NamedTuple):
    """The share of one reason in the score, in score points."""

    code: ReasonCode
    contribution: float


class OwnBlend(NamedTuple):
    """The blend that a model brings along, chosen in training (docs/adr/0038)."""

    alpha: float
    """Weight of the model, 0 to 1."""
    threshold: float
    """Alert threshold on the score with this ``alpha``, 0 to 1."""


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


class Blender:
    """Blends with the ``alpha`` and the alert threshold that are in force for a model.

    - A value that a control message set applies to every model.
    - Otherwise the model's own blend applies. Its threshold fits its ``alpha`` only, so it does not apply when
      ``alpha`` was set.
    - A model without its own blend, and a decision without a model score, use the values of the configuration.
    """

    def __init__(self, config: DetectionConfig) -> None:
        """Use the values of a configuration."""
        self._alpha: float = config.alpha
        self._threshold: float = config.alert_threshold
        self._alpha_is_set: bool = config.alpha_is_set
        self._threshold_is_set: bool = config.threshold_is_set

    def score(self, verdict: RuleVerdict, ml_score: float | None, own: OwnBlend | None) -> tuple[Score, float]:
        """Return the blended score and the alert threshold for it.

        Under a model's own ``alpha``, a listed customer, merchant or country reaches the threshold whatever the model's
        score is: the model's weight is lowered where it would prevent this.

        Args:
            verdict: the rule score.
            ml_score: score of the model; ``None`` without one.
            own: the blend of the model that gave the score.
        """
        if own is None or ml_score is None or self._alpha_is_set:
            return blend(verdict, ml_score, self._alpha), self._threshold
        alpha, threshold = own
        if self._threshold_is_set:
            threshold = self._threshold
        if 1.0 - alpha < threshold and _is_listed(verdict):
            alpha = weight_beside_list(threshold)
        return blend(verdict, ml_score, alpha), threshold


class BlendInForce(NamedTuple):
    """The blend of a model under a configuration, and what set each value: ``SET``, ``OWN`` or ``DEFAULT``."""

    alpha: float
    alpha_from: str
    threshold: float
    threshold_from: str


SET: Final = "control message"
OWN: Final = "model"
DEFAULT: Final = "default"


def blend_in_force(config: DetectionConfig, own: OwnBlend | None) -> BlendInForce:
    """Return the blend that ``Blender`` uses for a model, apart from listed customers, merchants and countries."""
    alpha, alpha_from = config.alpha, SET if config.alpha_is_set else DEFAULT
    threshold, threshold_from = config.alert_threshold, SET if config.threshold_is_set else DEFAULT
    if own is not None and alpha_from == DEFAULT:
        alpha, alpha_from = own.alpha, OWN
        if threshold_from == DEFAULT:
            threshold, threshold_from = own.threshold, OWN
    return BlendInForce(alpha, alpha_from, threshold, threshold_from)


def weight_beside_list(threshold: float) -> float:
    """Return the largest ``alpha`` with which a rule score of 1 alone reaches a threshold.

    >>> 1.0 - weight_beside_list(0.4) >= 0.4
    True
    """
    return max(0.0, 1.0 - threshold - _ROUNDING)


def _is_listed(verdict: RuleVerdict) -> bool:
    for hit in verdict.hits:  # noqa: SIM110 - compiled, the loop is faster than a generator
        if hit.code is ReasonCode.BLACKLISTED:
            return True
    return False


_ROUNDING: Final = 1e-12
"""More than the rounding error of a blend."""
