"""The probability of fraud that belongs to a blended score, and the expected loss of a decision (docs/adr/0041).

The curve is linear between a few points, so it costs one bisection. It fits one ``alpha`` only: a decision whose score
was blended with another one, or without a model, has no probability.
"""

from bisect import bisect_right
from typing import Final

from flink_jobs.core.documents import DecisionDocument

DECISION_WITH_PROBABILITY: Final = 5
"""Schema version of a decision with a probability; every other decision is written as before."""
ALERT_WITH_PROBABILITY: Final = 3
"""Schema version of an alert with a probability."""


class ProbabilityCurve:
    """A monotonic curve from the blended score to the probability of fraud, constant left and right of its points."""

    def __init__(self, alpha: float, scores: list[float], probabilities: list[float]) -> None:
        """Use the points of a curve.

        Args:
            alpha: weight of the model in the scores that the curve was fitted to, above 0.
            scores: at least one, strictly rising, 0 to 1.
            probabilities: one for each score, not falling, 0 to 1.
        """
        self.alpha: float = alpha
        self._scores: list[float] = scores
        self._probabilities: list[float] = probabilities
        pairs = zip(scores, scores[1:], probabilities, probabilities[1:])  # noqa: B905 - the last point has no slope
        self._slopes: list[float] = [(after - p) / (end - start) for start, end, p, after in pairs]

    def at(self, score: float) -> float:
        """Return the probability of fraud at a blended score, 0 to 1."""
        place = bisect_right(self._scores, score) - 1
        if place < 0:
            return self._probabilities[0]
        low = self._probabilities[place]
        if place == len(self._slopes):
            return low
        probability = low + (score - self._scores[place]) * self._slopes[place]
        high = self._probabilities[place + 1]
        return min(high, probability)  # rounding must not exceed the next point


def add_probability(decision: DecisionDocument, curve: ProbabilityCurve | None) -> None:
    """Write the probability of fraud and the expected loss into a decision, if the curve fits its score."""
    if curve is None or decision["alpha"] != curve.alpha:
        return
    probability = curve.at(decision["score"])
    if "terminal" not in decision:
        decision["schema_version"] = DECISION_WITH_PROBABILITY
    decision["fraud_probability"] = probability
    decision["expected_loss_minor"] = int(decision["amount_minor"] * probability + 0.5)
