"""Moving windows in memory: what is within a rate, and that old windows are removed."""

from __future__ import annotations

import asyncio

from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from api.windows import MOST_WINDOWS, MovingWindows


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_moves_with_the_time() -> None:
    clock, rate = Clock(), RateLimitItemPerSecond(2)
    windows = MovingWindows(clock)
    assert [windows.hit(rate, "key", "a") for _ in range(3)] == [True, True, False]
    assert windows.test(rate, "key", "b")
    assert not windows.test(rate, "key", "a")
    clock.now += 0.6
    assert not windows.hit(rate, "key", "a")
    clock.now += 0.4
    assert [windows.hit(rate, "key", "a") for _ in range(3)] == [True, True, False]


def test_the_answers_are_those_of_the_library() -> None:
    rate, windows = RateLimitItemPerMinute(3), MovingWindows(Clock())

    async def of_library() -> list[bool]:
        limiter = MovingWindowRateLimiter(MemoryStorage())
        return [await call(rate, "a") for call in (limiter.hit, limiter.test) * 4]

    assert [call(rate, "a") for call in (windows.hit, windows.test) * 4] == asyncio.run(of_library())


def test_names_that_call_no_more_do_not_fill_the_memory() -> None:
    clock, rate = Clock(), RateLimitItemPerSecond(1)
    windows = MovingWindows(clock)
    for number in range(MOST_WINDOWS):
        windows.hit(rate, "address", str(number))
    clock.now += 1
    windows.hit(rate, "address", "live")
    assert list(windows._windows) == [rate.key_for("address", "live")]
