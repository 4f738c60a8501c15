from __future__ import annotations

import pytest

from flink_jobs.errors import UserError
from flink_jobs.kafka.outgoing import Outgoing
from flink_jobs.kafka.pacing import Pace, parse_pace
from flink_jobs.traffic.replay import LONGEST_NAP_S, paced


class FakeTime:
    """A clock that moves only during a sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def sent_at(pace: Pace, times_ms: list[int]) -> list[float]:
    time = FakeTime()
    records = [Outgoing(b"c", b"{}", at) for at in times_ms]
    sent = [round(time.now - 100.0, 6) for _ in paced(records, pace, time.clock, time.sleep)]
    assert all(nap <= LONGEST_NAP_S for nap in time.naps), "a long nap would delay Ctrl-C and the ledger"
    return sent


def test_speed_follows_event_time() -> None:
    assert sent_at(Pace(speed=10.0), [5_000, 6_000, 8_000, 8_000]) == [0.0, 0.1, 0.3, 0.3]


def test_a_late_event_is_due_at_once_and_delays_no_other() -> None:
    assert sent_at(Pace(speed=1.0), [5_000, 6_000, 2_000, 7_000]) == [0.0, 1.0, 1.0, 2.0]


def test_rate_ignores_event_time() -> None:
    assert sent_at(Pace(rate=4.0), [9_000, 0, 10**12]) == [0.0, 0.25, 0.5]


def test_without_a_pace_no_record_waits() -> None:
    assert sent_at(Pace(), [0, 10**12]) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("speed", "rate", "pace"),
    [
        (None, None, Pace()),
        ("max", None, Pace()),
        ("100x", None, Pace(speed=100.0)),
        ("0.5", None, Pace(speed=0.5)),
        (None, 500.0, Pace(rate=500.0)),
    ],
)
def test_parse_pace(speed: str | None, rate: float | None, pace: Pace) -> None:
    assert parse_pace(speed, rate) == pace


@pytest.mark.parametrize(
    ("speed", "rate", "message"),
    [
        ("fast", None, "--speed fast is not a speed: write a multiple"),
        ("0x", None, "is not a speed"),
        ("-1x", None, "is not a speed"),
        (None, 0.0, "--rate 0 is not a number above 0"),
        (None, float("nan"), "--rate nan is not a number above 0"),
        (None, float("inf"), "--rate inf is not a number above 0"),
        ("2x", 5.0, "both given: choose one"),
    ],
)
def test_a_bad_pace_says_what_to_write(speed: str | None, rate: float | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_pace(speed, rate)
