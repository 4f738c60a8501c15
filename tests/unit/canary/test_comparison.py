"""The verdict on a canary: pass within all limits, return beyond one, unknown without enough to compare."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flink_jobs.canary.comparison import Comparison, Limits, Outcome, Place, compare
from flink_jobs.canary.outcomes import outcome_of
from flink_jobs.cli.canary_commands import limits_of
from flink_jobs.errors import UserError

LIMITS = Limits(records=100)
NUMBER = 400


def outcomes(number: int = NUMBER, late_ms: int = 0) -> dict[Place, Outcome]:
    """Return the outcomes of records in two partitions; every tenth is an alert, every twentieth a dead letter."""
    found = {}
    for index in range(number):
        name, at = f"t{index}", 1_000 * index + late_ms
        item = Outcome(
            "decision", at, name, 0.9 if index % 10 == 0 else 0.1, is_alert=index % 10 == 0, reasons=("MODEL",)
        )
        found[index % 2, index // 2] = Outcome("BAD_JSON", at) if index % 20 == 5 else item
    return found


def verdicts(result: Comparison) -> dict[str, str]:
    return {check.name: check.verdict for check in result.checks}


def changed(canary: dict[Place, Outcome], share: float, **changes: object) -> dict[Place, Outcome]:
    """Return outcomes of which the first share of the decisions has other values."""
    decided = [place for place, item in canary.items() if item.is_decision]
    few = decided[: round(len(decided) * share)]
    return {place: replace(item, **changes) if place in few else item for place, item in canary.items()}  # type: ignore[arg-type]


def test_equal_outcomes_pass() -> None:
    result = compare(outcomes(), outcomes(late_ms=40), LIMITS, 0)
    assert result.verdict == "pass", result
    assert result.counts["compared"] == result.counts["equal"] == NUMBER
    assert result.examples == ()


@pytest.mark.parametrize(
    ("share", "changes", "check"),
    [
        (0.01, {"score": 0.11}, "equal_share"),
        (0.01, {"reasons": ("OTHER",)}, "equal_share"),
        (0.02, {"score": 0.7}, "score_difference"),
        (0.02, {"is_alert": True, "score": 0.95}, "alert_rate"),
        (0.02, {"kind": "SCHEMA_INVALID"}, "dead_letter_rate"),
        (1.0, {"processed_ms": 10_000_000}, "behind_ms"),
        (0.01, {"transaction_id": "another"}, "equal_share"),
    ],
)
def test_a_difference_beyond_a_limit_is_returned(share: float, changes: dict[str, object], check: str) -> None:
    result = compare(outcomes(), changed(outcomes(), share, **changes), LIMITS, 0)
    assert verdicts(result)[check] == "return"
    assert result.verdict == "return"


def test_a_canary_that_falls_behind_after_it_caught_up_is_returned() -> None:
    canary = outcomes(late_ms=10)
    slow = {
        place: replace(item, processed_ms=item.processed_ms + 5_000) for place, item in canary.items() if place[1] > 50
    }
    result = compare(outcomes(), {**canary, **slow}, LIMITS, 0)
    assert verdicts(result)["behind_ms"] == "return"


def test_the_start_of_a_canary_is_not_counted_as_latency() -> None:
    canary = outcomes(late_ms=10)
    starting = {place: replace(item, processed_ms=98_005) for place, item in canary.items() if place[1] < 49}
    assert compare(outcomes(), {**canary, **starting}, LIMITS, 0).verdict == "pass"


def test_a_canary_that_has_not_caught_up_has_no_latency_yet() -> None:
    result = compare(outcomes(), outcomes(late_ms=10_000_000), LIMITS, 0)
    assert (result.verdict, verdicts(result)["behind_ms"]) == ("unknown", "unknown")


def test_lost_and_added_records_are_returned() -> None:
    lost, added = outcomes(), outcomes()
    del lost[0, 100]
    for real, canary, name in ((outcomes(), lost, "only running job"), (lost, added, "only canary")):
        result = compare(real, canary, LIMITS, 0)
        assert result.counts[name] == 1
        assert verdicts(result)["one_sided"] == "return"


def test_records_that_one_job_has_not_reached_are_not_compared() -> None:
    behind = {place: item for place, item in outcomes().items() if place[1] < 150}
    result = compare(outcomes(), behind, LIMITS, 0)
    assert result.verdict == "pass"
    assert (result.counts["compared"], result.counts["not read yet"]) == (300, 100)
    assert compare(behind, outcomes(), LIMITS, 0).verdict == "pass"
    later = {place: item for place, item in outcomes().items() if place[1] >= 50}
    assert compare(outcomes(), later, LIMITS, 0).counts["compared"] == 300


def test_too_little_to_compare_is_not_a_pass() -> None:
    few = compare(outcomes(60), outcomes(60), LIMITS, 0)
    assert few.verdict == "unknown"
    assert compare({}, {}, LIMITS, 0).verdict == "unknown"
    other = compare(outcomes(), changed(outcomes(), 0.5, settings=(7, "None")), LIMITS, 0)
    assert (other.verdict, verdicts(other)["records"]) == ("unknown", "unknown")
    half = {place: item for place, item in outcomes().items() if place[0] == 0}
    result = compare(outcomes(), half, LIMITS, 0)
    assert (result.verdict, verdicts(result)["records"]) == ("unknown", "unknown")


def test_a_few_decisions_under_other_settings_are_left_out() -> None:
    result = compare(outcomes(), changed(outcomes(), 0.05, settings=(7, "None"), score=0.5), LIMITS, 0)
    assert (result.verdict, result.counts["other settings"]) == ("pass", 19)


@pytest.mark.parametrize("restarts", [1, None])
def test_a_canary_that_restarts_or_does_not_run_is_returned_at_once(restarts: int | None) -> None:
    assert compare({}, {}, LIMITS, restarts).verdict == "return"


def test_outcomes_are_read_from_decisions_and_dead_letters() -> None:
    decision = {
        "score": 0.5, "source": {"topic": "s.transactions", "partition": 1, "offset": 7},
        "config_revision": 3, "transaction_id": "t", "is_alert": False,
        "reasons": [{"code": "A", "contribution": 1}], "processing_time_ms": 9,
    }  # fmt: skip
    expected = Outcome("decision", 9, "t", 0.5, reasons=("A",), settings=(3, "None"))
    assert outcome_of(decision, "s.transactions") == ((1, 7), expected)
    letter = {
        "topic": "s.transactions", "partition": 0, "offset": 2, "disposition": "rejected", "reason": "BAD_JSON",
        "processing_time_ms": 4,
    }  # fmt: skip
    assert outcome_of(letter, "s.transactions") == ((0, 2), Outcome("BAD_JSON", 4))
    assert outcome_of({**letter, "disposition": "incident"}, "s.transactions") is None
    assert outcome_of({**letter, "topic": "s.control"}, "s.transactions") is None


def test_limits_are_named_and_checked() -> None:
    assert limits_of([]) == Limits()
    assert limits_of(["restarts=2", "alert_rate=0.01"]) == Limits(restarts=2, alert_rate=0.01)
    for wrong in ("speed=1", "restarts=few", "alert_rate", "alert_rate=-1", "alert_rate=nan"):
        with pytest.raises(UserError, match="is not a limit"):
            limits_of([wrong])
