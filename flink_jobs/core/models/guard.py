"""The guard of an experiment: compares challenger and champion in the decisions of one subtask, and can end it."""

from math import exp, log, sqrt
from typing import Final

from flink_jobs.core.control.experiment import GuardBand

WINDOW_FACTOR: Final = 4
"""The window of each model holds its latest ``WINDOW_FACTOR * min_decisions`` events."""
STANDARD_ERRORS: Final = 3.0
"""Standard errors by which the ratio must be outside the band. The guard checks after every decision, so a smaller
number would sooner or later end a good experiment by chance."""


class _Window:
    """Counts events, alerts and errors of the last ``size`` events; uses one byte per event."""

    __slots__ = ("_at", "_ring", "alerts", "errors", "events")

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)
        self._at = 0
        self.events = self.alerts = self.errors = 0

    def add(self, *, is_alert: bool, is_error: bool) -> None:
        ring, at = self._ring, self._at
        if self.events == len(ring):
            gone = ring[at]
            self.alerts -= gone & 1
            self.errors -= gone >> 1
        else:
            self.events += 1
        ring[at] = is_alert | is_error << 1
        self.alerts += is_alert
        self.errors += is_error
        self._at = (at + 1) % len(ring)


class ExperimentGuard:
    """Decides when a challenger leaves its band; it only counts, uses no clock, and takes O(1) per decision.

    The guard compares alert rates by the logarithm of their ratio, whose standard error is known (Katz et al.,
    "Obtaining confidence intervals for the risk ratio in cohort studies", Biometrics 1978). Half an event is added to
    each count, so no count is zero. The guard trips when the ratio is outside the band by ``STANDARD_ERRORS``.
    """

    def __init__(self, band: GuardBand) -> None:
        """Start with empty windows."""
        self._band = band
        self._champion = _Window(band.min_decisions * WINDOW_FACTOR)
        self._challenger = _Window(band.min_decisions * WINDOW_FACTOR)
        self._low, self._high = log(band.min_alert_rate_ratio), log(band.max_alert_rate_ratio)

    def champion_decided(self, *, is_alert: bool) -> None:
        """Record a decision by the champion on a customer outside the experiment."""
        self._champion.add(is_alert=is_alert, is_error=False)

    def challenger_decided(self, *, is_alert: bool, is_error: bool) -> str | None:
        """Record a decision on a customer of the experiment; return why the experiment must end, or ``None``.

        Args:
            is_alert: whether the decision was an alert.
            is_error: whether the challenger failed and the champion scored instead.
        """
        band, ours, theirs = self._band, self._challenger, self._champion
        ours.add(is_alert=is_alert and not is_error, is_error=is_error)
        if ours.events < band.min_decisions:
            return None
        if ours.errors > band.max_error_share * ours.events:
            return (
                f"the challenger failed on {ours.errors} of {ours.events} events, "
                f"which is {ours.errors / ours.events:.3%}; at most {band.max_error_share:.3%} are allowed"
            )
        decided = ours.events - ours.errors
        if theirs.events < band.min_decisions or not decided:
            return None
        return self._ratio_problem(decided)

    def _ratio_problem(self, decided: int) -> str | None:
        ours, theirs = self._challenger, self._champion
        a, b = ours.alerts + 0.5, theirs.alerts + 0.5
        n, m = decided + 0.5, theirs.events + 0.5
        ratio = log(a / n * m / b)
        error = STANDARD_ERRORS * sqrt(max(0.0, 1.0 / a - 1.0 / n + 1.0 / b - 1.0 / m))
        if self._low <= ratio + error and ratio - error <= self._high:
            return None
        return (
            f"the challenger alerts on {ours.alerts} of {decided} events, the champion on {theirs.alerts} of "
            f"{theirs.events}: {exp(ratio):.2f} times as often; the band is {self._band.min_alert_rate_ratio:g} "
            f"to {self._band.max_alert_rate_ratio:g}"
        )
