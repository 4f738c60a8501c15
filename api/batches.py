"""Joins calls that wait at the same time into one query, so that a busy process sends fewer of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST: Final = 200
"""Largest number of items of one query."""


class _Entry(NamedTuple, Generic[Item, Result]):
    item: Item
    limit_s: float
    result: asyncio.Future[Result]


class Batches(Generic[Item, Result]):
    """Runs a function of several items; the items that arrive while it runs are its next batch.

    An item that arrives while nothing runs is a batch of its own at once: without load, no item waits for another one.
    """

    def __init__(self, run: Callable[[Sequence[Item], float], Awaitable[Sequence[Result]]]) -> None:
        """Prepare an empty queue.

        Args:
            run: gets the items and the longest limit among them in seconds; returns one result for each item, in order.
        """
        self._run = run
        self._waiting: list[_Entry[Item, Result]] = []
        self._task: asyncio.Task[None] | None = None

    async def result(self, item: Item, limit_s: float) -> Result:
        """Return the result of one item.

        Args:
            item: what the function gets.
            limit_s: longest wait in seconds.

        Raises:
            TimeoutError: the wait was longer.
            Exception: the error of the function, for each item of its batch.
        """
        entry: _Entry[Item, Result] = _Entry(item, limit_s, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._task is None:
            self._task = asyncio.create_task(self._run_all())
        # A caller that goes away cancels its own future; `_run_all` leaves it out.
        return await asyncio.wait_for(entry.result, limit_s)

    async def _run_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                if open_ones := [entry for entry in batch if not entry.result.done()]:
                    await self._run_one(open_ones)
        finally:
            self._task = None

    async def _run_one(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            results = await self._run([entry.item for entry in batch], max(entry.limit_s for entry in batch))
        except Exception as error:  # noqa: BLE001 - each caller gets it
            for entry in batch:
                if not entry.result.done():
                    entry.result.set_exception(error)
            return
        for entry, result in zip(batch, results, strict=True):
            if not entry.result.done():
                entry.result.set_result(result)
