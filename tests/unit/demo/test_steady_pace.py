from __future__ import annotations

import pytest

from flink_jobs.demo.steady_pace import FIRST_RATE, SteadyPace


def run(capacity: float, seconds: int, pace: SteadyPace) -> list[float]:
    """Send at the pace for some seconds to a job that handles ``capacity`` records per second; return the backlogs."""
    sent = scored = 0.0
    backlogs = []
    for second in range(seconds):
        readable = scored if second > 1 else 0.0  # what was scored before this second's checkpoint
        sent += pace.rate
        scored = min(sent, scored + capacity)
        backlogs.append(sent - scored)
        pace.adjust(float(second), int(sent), int(readable))
    return backlogs


def test_records_are_spaced_by_the_rate_in_force() -> None:
    pace = SteadyPace()
    assert [pace.due_s(index, 0) for index in range(3)] == pytest.approx([0, 1 / FIRST_RATE, 2 / FIRST_RATE])
    pace.adjust(1.0, 100, 100)
    before = pace.due_s(3, 0)
    assert pace.due_s(4, 0) - before == pytest.approx(1 / pace.rate)
    assert pace.rate > FIRST_RATE


def test_a_fast_machine_reaches_the_highest_rate_within_seconds() -> None:
    pace = SteadyPace(800)
    run(10_000, 8, pace)
    assert pace.rate == 800


@pytest.mark.parametrize("capacity", [150.0, 350.0, 600.0])
def test_on_a_slow_machine_the_backlog_stays_at_a_few_seconds(capacity: float) -> None:
    pace = SteadyPace(800)
    backlogs = run(capacity, 120, pace)
    assert max(backlogs) / capacity < 15
    assert max(backlogs[60:]) / capacity < 6
    assert pace.rate > capacity / 3


def test_after_one_slow_checkpoint_the_rate_recovers() -> None:
    pace = SteadyPace(800)
    for second, (sent, outcomes) in enumerate([(200, 1), (400, 1), (600, 1), (900, 1)]):
        pace.adjust(float(second), sent, outcomes)
    low = pace.rate
    assert low < FIRST_RATE
    run(10_000, 40, pace)
    assert pace.rate == 800


def test_before_the_first_outcome_the_rate_stays() -> None:
    pace = SteadyPace()
    pace.adjust(1.0, 100_000, 0)
    assert pace.rate == FIRST_RATE
