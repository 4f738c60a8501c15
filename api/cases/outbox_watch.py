"""Measures the outbox for Prometheus, in every process of the API: also in those that do not send it."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from api.background import repeat
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
        await repeat(self.measure, EVERY_S, _LOG, "the outbox was not measured; the next round tries again")

    async def measure(self) -> None:
        """Measure once. Without an answer of the database no value is reported, because none is known."""
        ages, dead = dict[str, float](), dict[str, float]()
        try:
            with contextlib.suppress(ApiError):
                ages, dead = await outbox.state(self._database)
        finally:
            self._metrics.set(catalogue.OUTBOX_AGE, ages)
            self._metrics.set(catalogue.OUTBOX_DEAD, dead)
