"""The histories of merchants, terminals, devices and cards, for scores that the API computes itself.

A thread reads the topic ``merchant-risk`` from its beginning into the table that the detector uses, too, and follows
it. It joins no consumer group and commits nothing: each process reads the whole topic. Scoring never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.features.entity_risk import ENTITY_OF, Entity, entity_id
from flink_jobs.core.merchants.start import read_message
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.errors import UserError
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.metrics import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.measures import ApiMetrics
    from flink_jobs.core.transaction import Transaction
    from flink_jobs.kafka.broker import Broker
    from flink_jobs.kafka.consumer import Position, Record

EVERY_S: Final = 2.0
"""Wait between two looks for new rows; a transaction uses a row from ten minutes after the start of its slot."""
REOPEN_S: Final = 300.0
"""A new connection after this time finds partitions that were added, and a topic that was created again."""
_PACE_ROWS: Final = 200
"""After each batch of rows the thread rests for as long as the batch took: requests need the same interpreter."""
_STOP_S: Final = 2.0
_LOG: Final = logging.getLogger(__name__)


class NotReady(StrEnum):
    """Why a model with inputs of entities gave no score; the text for the caller."""

    NOT_READ = "histories_not_read"
    """The topic was not read to its end yet, because the process has just started or Kafka does not answer."""
    NOT_CURRENT = "histories_not_current"
    """There is no row of such an entity, every row is a day older than the transaction, or the history is too short."""


class Histories:
    """The newest row of each merchant or other entity, kept up to date by a thread."""

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        entities: tuple[Entity, ...],
        metrics: ApiMetrics,
        *,
        every_s: float = EVERY_S,
        reopen_s: float = REOPEN_S,
    ) -> None:
        """Start without rows; ``run`` connects.

        Args:
            broker: the cluster and the account.
            prefix: of the topics.
            entities: whose rows are kept, in canonical order.
            metrics: the metrics of the process.
            every_s: wait between two looks for new rows, seconds.
            reopen_s: age of a connection to Kafka at which a new one replaces it, seconds.
        """
        self._broker = broker
        self._topic = topic_name(prefix, "merchant-risk")
        self._metrics = metrics
        self._every_s, self._reopen_s = every_s, reopen_s
        self._table = EntityTable(entities)
        self._places: dict[Position, int] = {}
        self._rejected, self._first_rejected = 0, ""
        self._problem = ""
        self._stop = threading.Event()
        self.is_read = False
        """Whether the topic was read to its end at least once."""

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities that have a history, in canonical order."""
        return self._table.entities

    def inputs(self, entity: Entity, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent.

        Raises:
            InputsNotReady: the transaction names such an entity, and its row is not read or not current.
        """
        if not self.is_read and entity_id(transaction, entity) is not None:
            raise InputsNotReady(f"the topic {self._topic} was not read to its end yet")
        return self._table.inputs(entity, transaction)

    def why_not_ready(self, names: Iterable[str], transaction: Transaction) -> NotReady | None:
        """Return why a model has not all of its inputs of entities; ``None`` if it has them.

        Args:
            names: the inputs of the model.
            transaction: the transaction that it scores.
        """
        try:
            for entity in {ENTITY_OF[name] for name in names if name in ENTITY_OF}:
                self.inputs(entity, transaction)
        except InputsNotReady:
            return NotReady.NOT_CURRENT if self.is_read else NotReady.NOT_READ
        return None

    async def run(self) -> None:
        """Read until cancelled."""
        thread = threading.Thread(target=self._follow, name="read_histories", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._stop.set()
            await asyncio.to_thread(thread.join, _STOP_S)

    # ---- the thread

    def _follow(self) -> None:
        """Read and read again until stopped; a problem is logged once, and the rows stay in use."""
        while not self._stop.is_set():
            try:
                with CommittedReader(self._broker, [self._topic], self._places) as reader:
                    self._read_for_a_while(reader)
            except UserError as error:
                problem = f"{error.what}: {error.fix}"
            except Exception as error:  # noqa: BLE001 - the thread must not end; the log names it
                problem = f"a defect of StreamFlow ({type(error).__name__}: {error})"
            else:
                continue
            if problem != self._problem:
                self._problem = problem
                scores = (
                    "the rows that were read stay in use" if self.is_read else "models that need them give no score"
                )
                _LOG.warning("the histories of %s are not read (%s): %s", ", ".join(self.entities), scores, problem)
            self._stop.wait(self._every_s)

    def _read_for_a_while(self, reader: CommittedReader) -> None:
        """Read what one connection has until it is due for a new one.

        Raises:
            UserError: Kafka does not answer, or the account may not read the topic.
        """
        ends = reader.end_offsets()
        if any(ends.get(place, 0) < offset for place, offset in self._places.items()):
            _LOG.warning("%s was created again: its rows are read from the beginning", self._topic)
            self._places, self._table, self.is_read = {}, EntityTable(self.entities), False
            return
        until = time.monotonic() + self._reopen_s
        while not self._stop.is_set() and time.monotonic() < until:
            self._read_to_end(reader)
            self._report()
            self._stop.wait(self._every_s)

    def _read_to_end(self, reader: CommittedReader) -> None:
        """Use the rows that are committed now, and say so in the log the first time."""
        started = time.monotonic()
        for read, record in enumerate(reader.read_to_end(), 1):
            self._use(record)
            if read % _PACE_ROWS == 0:
                self._stop.wait(time.monotonic() - started)
                started = time.monotonic()
            if self._stop.is_set():
                return
        if not self.is_read:
            self.is_read = True
            _LOG.info("the histories of %s are read: %d rows", ", ".join(self.entities), len(self._table))
        self._problem = ""

    def _use(self, record: Record) -> None:
        """Use a row or a start from now on; after other bytes, nothing is known about their key. They are counted."""
        self._places[record.topic, record.partition] = record.offset + 1
        row, problem = read_message(record.key, record.value)
        if problem:
            self._rejected += 1
            if self._rejected == 1:
                self._first_rejected = f"partition {record.partition}, offset {record.offset}: {problem}"
        if row is not None and row.entity in self.entities:
            self._table.put(row)
        self._metrics.count(catalogue.API_HISTORY_ROWS_READ, "rejected" if problem else "applied")

    def _report(self) -> None:
        """Set the gauges, and log the rejected rows of this reading in one line."""
        if self._rejected:
            where = self._first_rejected
            _LOG.error(
                "%d rows of %s were rejected; models get no inputs of their keys until the next row; the first: %s",
                self._rejected,
                self._topic,
                where,
            )
            self._rejected = 0
        table = self._table
        self._metrics.set(catalogue.API_HISTORY_ROWS, {entity.value: table.held(entity) for entity in self.entities})
        slots = {entity.value: table.newest_slot(entity) for entity in self.entities}
        times = {entity: slot * SLOT_MS / 1_000 for entity, slot in slots.items() if slot is not None}
        self._metrics.set(catalogue.API_HISTORY_NEWEST, times)
