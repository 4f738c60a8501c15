"""The calibration of a model's blended score in its manifest: points of a curve, and how they were fitted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final

from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.probability import ProbabilityCurve

MAX_POINTS: Final = 64


@dataclass(frozen=True, slots=True)
class ChosenCalibration:
    """A curve from the blended score to the probability of fraud, fitted on the validation rows (docs/adr/0041).

    Attributes:
        alpha: weight of the model in the scores that the curve was fitted to.
        scores: blended scores, strictly rising.
        probabilities: probability of fraud at each score, not falling.
        rows: labelled validation rows.
        frauds: labelled frauds among them.
    """

    alpha: float
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    rows: float
    frauds: float

    def curve(self) -> ProbabilityCurve:
        """Return the curve as a function."""
        return ProbabilityCurve(self.alpha, list(self.scores), list(self.probabilities))


def parse_calibration(document: object) -> ChosenCalibration | None:
    """Parse ``calibration`` of a manifest; ``None`` for a model without one.

    Raises:
        ModelError: ``BAD_MANIFEST``.
    """
    if document is None:
        return None
    if not isinstance(document, dict) or document.keys() != {field.name for field in fields(ChosenCalibration)}:
        raise _bad("is not an object with the fields of a calibration")
    scores, probabilities = (_points(document[name]) for name in ("scores", "probabilities"))
    (alpha, rows, frauds) = _points([document[name] for name in ("alpha", "rows", "frauds")])
    if len(scores) != len(probabilities) or not 1 <= len(scores) <= MAX_POINTS:
        raise _bad(f"needs 1 to {MAX_POINTS} points")
    if not 0.0 < alpha <= 1.0 or not all(0.0 <= value <= 1.0 for value in (*scores, *probabilities)):
        raise _bad("has a value outside 0 to 1")
    if any(one >= two for one, two in pairwise(scores)) or any(one > two for one, two in pairwise(probabilities)):
        raise _bad("does not rise")
    return ChosenCalibration(alpha, scores, probabilities, rows, frauds)


def _points(values: Any) -> tuple[float, ...]:  # noqa: ANN401 - decoded JSON
    if not isinstance(values, list) or not all(type(value) in {int, float} for value in values):
        raise _bad("holds a value that is not a number")
    return tuple(map(float, values))


def _bad(problem: str) -> ModelError:
    return ModelError(ModelFault.BAD_MANIFEST, f"'calibration' {problem}")
