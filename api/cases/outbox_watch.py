"""Measures the outbox for Prometheus, in every process of the API: also in those that do not send it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from api.cases import outbox
from api.errors import ApiError
from flink_jobs.metrics import catalogue

if TYPE_CHECKING:
    from api.database import Database
    from api.measures import ApiMetrics

_LOG: Final = logging.getLogger(__name__)
EVERY_S: Final = 15.0


class OutboxWatch:
    """Keeps the gauges of the outbox up to date."""

    def __init__(self, database: Database, metrics: ApiMetrics) -> None:
        """Use a database and the metrics of the process."""
        self._database, self._metrics = database, metrics

    async def run(self) -> None:
        """Measure again and again, until cancelled."""
        while True:
            await self.measure()
            await asyncio.sleep(EVERY_S)

    async def measure(self) -> None:
        """Measure once. Without an answer of the database no value is reported, because none is known."""
        ages, dead = dict[str, float](), dict[str, float]()
        try:
            ages, dead = await outbox.state(self._database)
        except ApiError:
            pass  # the database does not answer
        except Exception:  # noqa: BLE001 - the loop must not end
            _LOG.exception("the outbox was not measured; the next round tries again")
        self._metrics.set(catalogue.OUTBOX_AGE, ages)
        self._metrics.set(catalogue.OUTBOX_DEAD, dead)
