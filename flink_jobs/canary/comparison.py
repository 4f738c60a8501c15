"""Compares the outcomes of a canary with those of the running job, and decides by limits: pass, return or unknown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Place = tuple[int, int]
"""Partition and offset of a record of the transactions topic; each record has one outcome."""
Verdict = Literal["pass", "return", "unknown"]
DECISION: Final = "decision"
SAME_SCORE: Final = 1e-9
"""Scores that differ by at most this are equal."""
COMPARABLE: Final = 0.9
"""Smallest share of the records that must be comparable for a verdict."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job made of one record.

    Attributes:
        kind: ``decision``, else the reason of the dead letter.
        processed_ms: when the job processed the record (ms since the epoch).
        transaction_id: of a decision.
        score: of a decision, 0 to 1.
        is_alert: whether the decision is an alert.
        reasons: codes of the reasons, in order.
        settings: revision of the configuration and the actions on the account. Control messages and actions have no
            order relative to transactions, so two equal programs may score one transaction under different settings.
    """

    kind: str
    processed_ms: int
    transaction_id: str | None = None
    score: float = 0.0
    is_alert: bool = False
    reasons: tuple[str, ...] = ()
    settings: tuple[int, str] = (0, "")

    @property
    def is_decision(self) -> bool:
        """Return whether the record was scored."""
        return self.kind == DECISION

    def equals(self, other: Outcome) -> bool:
        """Return whether both jobs decided the same: outcome, score, alert and reasons."""
        return (
            (self.kind, self.transaction_id, self.is_alert, self.reasons)
            == (other.kind, other.transaction_id, other.is_alert, other.reasons)
        ) and abs(self.score - other.score) <= SAME_SCORE


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits within which a canary passes.

    Attributes:
        records: fewest compared records for a verdict.
        equal_share: smallest share of records on which both jobs decide the same.
        score_difference: largest 99th percentile of the difference of two scores.
        alert_rate: largest difference of the two alert rates, in share of records.
        dead_letter_rate: largest difference of the two shares of dead letters.
        behind_ms: largest 99th percentile of the time by which the canary processed a record later.
        restarts: largest number of restarts of the canary.
    """

    records: int = 1_000
    equal_share: float = 0.999
    score_difference: float = 0.05
    alert_rate: float = 0.001
    dead_letter_rate: float = 0.001
    behind_ms: int = 1_000
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One measured value with its limit."""

    name: str
    value: float | None
    limit: float
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison; ``counts`` holds the numbers of records behind the checks."""

    verdict: Verdict
    checks: tuple[Check, ...]
    counts: Mapping[str, int]
    examples: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "counts": dict(self.counts),
            "examples": [dict(item) for item in self.examples],
        }


def compare(
    real: Mapping[Place, Outcome], canary: Mapping[Place, Outcome], limits: Limits, restarts: int | None
) -> Comparison:
    """Compare all records that the canary has read so far.

    Only records between the canary's first outcome in a partition and the last outcome of the slower job are compared.

    Args:
        real: outcomes of the running job.
        canary: outcomes of the canary.
        limits: the limits of the verdict.
        restarts: of the canary; ``None`` if the canary does not run.
    """
    spans = _spans(real, canary)
    mine = {place: item for place, item in canary.items() if _within(place, spans)}
    theirs = {place: item for place, item in real.items() if _within(place, spans)}
    both = sorted(mine.keys() & theirs.keys())
    fair = [
        place for place in both if mine[place].settings == theirs[place].settings or not _scored(place, mine, theirs)
    ]
    unequal = [place for place in fair if not mine[place].equals(theirs[place])]
    counts = {
        "compared": len(fair),
        "equal": len(fair) - len(unequal),
        "other settings": len(both) - len(fair),
        "only running job": len(theirs.keys() - mine.keys()),
        "only canary": len(mine.keys() - theirs.keys()),
        "not read yet": sum(1 for place in real if place[0] in spans and place[1] > spans[place[0]][1]),
        "partitions not read yet": len({place[0] for place in real} - spans.keys()),
    }
    checks = (
        _enough(counts, limits),
        *_content(fair, mine, theirs, unequal, counts, limits),
        _punctual(fair, mine, theirs, limits),
        _stable(restarts, limits),
    )
    return Comparison(_overall(checks), checks, counts, tuple(_example(place, mine, theirs) for place in unequal[:5]))


def _spans(real: Mapping[Place, Outcome], canary: Mapping[Place, Outcome]) -> dict[int, tuple[int, int]]:
    """Return, by partition, the first and the last offset that both jobs have reached."""
    found = {}
    for partition in {place[0] for place in canary}:
        mine = [place[1] for place in canary if place[0] == partition]
        theirs = [place[1] for place in real if place[0] == partition]
        found[partition] = (min(mine), min(max(mine), max(theirs, default=-1)))
    return found


def _within(place: Place, spans: Mapping[int, tuple[int, int]]) -> bool:
    first, last = spans.get(place[0], (0, -1))
    return first <= place[1] <= last


def _scored(place: Place, mine: Mapping[Place, Outcome], theirs: Mapping[Place, Outcome]) -> bool:
    """Return whether both jobs scored the record; a dead letter has no settings."""
    return mine[place].is_decision and theirs[place].is_decision


def _enough(counts: Mapping[str, int], limits: Limits) -> Check:
    seen = counts["compared"] + counts["other settings"]
    share = counts["compared"] / seen if seen else 0.0
    if counts["compared"] < limits.records:
        return Check("records", counts["compared"], limits.records, "unknown", "too few records were compared")
    if share < COMPARABLE:
        detail = f"{counts['other settings']} records were scored under other rules or actions than in the running job"
        return Check("records", counts["compared"], limits.records, "unknown", detail)
    if counts["partitions not read yet"]:
        detail = f"the canary has no outcome of {counts['partitions not read yet']} partitions"
        return Check("records", counts["compared"], limits.records, "unknown", detail)
    return Check("records", counts["compared"], limits.records, "pass")


def _content(
    fair: Sequence[Place],
    mine: Mapping[Place, Outcome],
    theirs: Mapping[Place, Outcome],
    unequal: Sequence[Place],
    counts: Mapping[str, int],
    limits: Limits,
) -> list[Check]:
    """Return the checks of the decisions; all are unknown with too few records."""
    number = len(fair)
    if number < limits.records or not number:
        named = asdict(limits)
        names = ("equal_share", "score_difference", "alert_rate", "dead_letter_rate")
        unmeasured = [Check(name, None, named[name], "unknown") for name in names]
        return [*unmeasured, Check("one_sided", None, 0, "unknown")]
    scored = [place for place in fair if _scored(place, mine, theirs)]
    share = 1 - len(unequal) / number
    score = percentile([abs(mine[place].score - theirs[place].score) for place in scored], 0.99) or 0.0
    alerts = abs(sum(mine[place].is_alert - theirs[place].is_alert for place in fair)) / number
    dead = abs(sum(theirs[place].is_decision - mine[place].is_decision for place in fair)) / number
    alone = counts["only running job"] + counts["only canary"]
    return [
        Check("equal_share", share, limits.equal_share, "pass" if share >= limits.equal_share else "return"),
        _at_most("score_difference", score, limits.score_difference),
        _at_most("alert_rate", alerts, limits.alert_rate),
        _at_most("dead_letter_rate", dead, limits.dead_letter_rate),
        _at_most("one_sided", alone, 0),
    ]


def _at_most(name: str, value: float, limit: float) -> Check:
    return Check(name, value, limit, "pass" if value <= limit else "return")


def _punctual(
    fair: Sequence[Place], mine: Mapping[Place, Outcome], theirs: Mapping[Place, Outcome], limits: Limits
) -> Check:
    """Return the check of the latency, on the records after the canary has caught up with the running job."""
    in_order = sorted(fair, key=lambda place: mine[place].processed_ms)
    behind = [mine[place].processed_ms - theirs[place].processed_ms for place in in_order]
    caught_up = next((index for index, value in enumerate(behind) if value <= limits.behind_ms), len(behind))
    value = percentile(behind[caught_up:], 0.99)
    if value is None or len(behind) - caught_up < limits.records / 2:
        return Check("behind_ms", value, limits.behind_ms, "unknown", "too few records since the canary has caught up")
    return _at_most("behind_ms", value, limits.behind_ms)


def _stable(restarts: int | None, limits: Limits) -> Check:
    if restarts is None:
        return Check("restarts", None, limits.restarts, "return", "the canary does not run")
    return _at_most("restarts", restarts, limits.restarts)


def _overall(checks: Sequence[Check]) -> Verdict:
    """Return the verdict of all checks: one failed check is enough to return, and an unknown is not a pass."""
    verdicts = {check.verdict for check in checks}
    if "return" in verdicts:
        return "return"
    return "unknown" if "unknown" in verdicts else "pass"


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that is at least as large as this share of the values; ``None`` of no values.

    >>> percentile([3, 1, 2], 0.5), percentile([], 0.5)
    (2, None)
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _example(place: Place, mine: Mapping[Place, Outcome], theirs: Mapping[Place, Outcome]) -> dict[str, Any]:
    pair = {"running": theirs[place], "canary": mine[place]}
    found: dict[str, Any] = {"partition": place[0], "offset": place[1]}
    found["transaction_id"] = theirs[place].transaction_id or mine[place].transaction_id
    for name, item in pair.items():
        found[name] = {"outcome": item.kind, "score": item.score, "alert": item.is_alert, "reasons": list(item.reasons)}
    return found
