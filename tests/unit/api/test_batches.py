"""Calls that wait at the same time are one query."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from api.batches import Batches


class Doubled:
    """Doubles numbers; each call waits for ``is_open``."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.limits: list[float] = []
        self.is_open = asyncio.Event()

    async def __call__(self, items: Sequence[int], limit_s: float) -> list[int]:
        self.asked.append(tuple(items))
        self.limits.append(limit_s)
        await self.is_open.wait()
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]


async def _waiting(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_items_that_arrive_during_a_query_are_the_next_one() -> None:
    async def check() -> None:
        doubled = Doubled()
        batches = Batches(doubled)
        first = asyncio.create_task(batches.result(1, 5.0))
        await _waiting(3)
        others = [asyncio.create_task(batches.result(item, 5.0 + item)) for item in (2, 3, 4)]
        await _waiting(3)
        assert doubled.asked == [(1,)]
        doubled.is_open.set()
        assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
        assert (doubled.asked, doubled.limits) == ([(1,), (2, 3, 4)], [5.0, 9.0])
        assert await batches.result(5, 5.0) == 10  # after a quiet time the next item starts a batch

    asyncio.run(check())


def test_an_error_reaches_each_item_of_its_batch_and_no_other() -> None:
    async def check() -> None:
        doubled = Doubled()
        batches = Batches(doubled)
        first = asyncio.create_task(batches.result(1, 5.0))
        await _waiting(3)
        others = [asyncio.create_task(batches.result(item, 5.0)) for item in (12, 13)]
        await _waiting(3)
        doubled.is_open.set()
        assert await first == 2
        for other in others:
            with pytest.raises(ValueError, match="13"):
                await other
        assert await batches.result(4, 5.0) == 8

    asyncio.run(check())


def test_an_item_waits_for_its_own_limit_and_is_not_asked_after_it() -> None:
    async def check() -> None:
        doubled = Doubled()
        batches = Batches(doubled)
        first = asyncio.create_task(batches.result(1, 60.0))
        await _waiting(3)
        with pytest.raises(TimeoutError):
            await batches.result(2, 0.01)
        doubled.is_open.set()
        assert await first == 2
        assert await batches.result(3, 5.0) == 6
        assert doubled.asked == [(1,), (3,)]

    asyncio.run(check())


def test_a_large_queue_is_several_batches() -> None:
    async def check() -> None:
        doubled = Doubled()
        doubled.is_open.set()
        batches = Batches(doubled)
        assert await asyncio.gather(*(batches.result(item, 5.0) for item in range(100, 550))) == list(
            range(200, 1_100, 2)
        )
        assert [len(batch) for batch in doubled.asked] == [200, 200, 50]

    asyncio.run(check())
