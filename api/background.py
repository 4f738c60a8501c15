"""The loop of everything that the API does beside its requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api.errors import ApiError

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable


async def repeat(step: Callable[[], Awaitable[object]], every_s: float, log: logging.Logger, failure: str) -> None:
    """Run a step again and again, until cancelled.

    Args:
        step: one round. A true result means that more work may wait, so the next round begins at once.
        every_s: wait in seconds after a round without work, and after a failed one.
        log: gets exceptions. A database that does not answer is not logged: it has its own alert.
        failure: text of such a log line.
    """
    while True:
        may_have_more: object = False
        try:
            may_have_more = await step()
        except ApiError:
            pass  # the database does not answer
        except Exception:
            log.exception(failure)
        if not may_have_more:
            await asyncio.sleep(every_s)
