"""The rows of merchants and other entities in the detector: broadcast state, and the table that models read."""

from collections import Counter
from typing import Final

from pyflink.common import Types
from pyflink.datastream import KeyedBroadcastProcessFunction
from pyflink.datastream.state import BroadcastState, MapStateDescriptor

from flink_jobs.contracts import uids
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.keys import SEPARATOR
from flink_jobs.core.merchants.row import EntityRow
from flink_jobs.core.merchants.start import parse_message, read_message
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.log import log_error, log_event
from flink_jobs.metrics import catalogue

_UNTIL_NEXT: Final = "models get no inputs of its key until the next message with it"
_NO_KEY: Final = "its key is not that of a row, so it changes nothing"
_NOT_NAMED: Final = "STREAMFLOW_RISK_ENTITIES no longer names {entity}"
MERCHANT_ROWS: Final = MapStateDescriptor(uids.MERCHANT_ROWS, Types.STRING(), Types.STRING())


class MerchantRows:
    """The rows of one parallel instance."""

    def __init__(self, metrics: DetectorMetrics, entities: tuple[Entity, ...]) -> None:
        """Start without rows.

        Args:
            metrics: the metrics of the instance.
            entities: whose inputs models may take.
        """
        self.table = EntityTable(entities)
        self._metrics = metrics
        self._unwanted: dict[str, Entity] = {}
        """Key and entity of restored rows of entities that the settings no longer name."""
        metrics.before_flush(self._count_look_ups)
        self._is_restored = False

    def _count_look_ups(self) -> None:
        self._metrics.count(catalogue.MERCHANT_OTHER_SLOTS, n=self.table.other_slots)
        self.table.other_slots = 0

    def use(self, record: SourceRecord, ctx: KeyedBroadcastProcessFunction.Context, *, is_reported: bool) -> None:
        """Use a row or a start from now on; other bytes are counted and logged, by one subtask.

        After bytes that cannot be read, nothing is known about their key until its next row or start: models get no
        inputs of it.
        A row of an entity that the settings do not name is stored only: the job of merchants may have a new setting
        first, and a detector that is restored with this setting then has the rows.
        """
        row, problem = read_message(record.routing_key, record.payload)
        rows = ctx.get_broadcast_state(MERCHANT_ROWS)
        if self._unwanted:
            self._drop(rows, is_reported=is_reported)
        if row is not None:
            if row.entity in self.table.entities:
                self.table.put(row)
            if isinstance(row, EntityRow) and row.is_empty:
                rows.remove(row.key)
            else:
                rows.put(row.key, row.to_json())
        if problem and is_reported:
            place = f"partition {record.partition}, offset {record.offset}: {problem}"
            log_error("merchant_row_rejected", detail=f"{place}; {_UNTIL_NEXT if row else _NO_KEY}")
        if is_reported:
            self._metrics.count(catalogue.MERCHANT_ROWS_READ, "rejected" if problem else "applied")

    def _drop(self, rows: BroadcastState, *, is_reported: bool) -> None:
        """Drop the unwanted rows: only while a row is read can broadcast state be written."""
        counts = Counter(entity for key, entity in self._unwanted.items() if not key.endswith(SEPARATOR))  # no starts
        for key in self._unwanted:
            rows.remove(key)
        self._unwanted = {}
        for entity, count in counts.items() if is_reported else ():
            self._metrics.count(catalogue.MERCHANT_ROWS_READ, "dropped", count)
            log_event("rows_dropped", entity=entity, rows=count, detail=_NOT_NAMED.format(entity=entity))

    def restore_all(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Use the rows of a restored savepoint, at the first element after ``open``."""
        if not self._is_restored:
            self._is_restored = True
            # Not values(): in thread mode PyFlink calls a method that Java's broadcast state does not have.
            for _, stored in ctx.get_broadcast_state(MERCHANT_ROWS).items():  # noqa: PERF102
                self.restore(stored)

    def restore(self, stored: str) -> None:
        """Use a row of a restored savepoint; one of an entity that the settings no longer name is dropped.

        Raises:
            RuntimeError: this release cannot read the row.
        """
        row = parse_message(stored.encode())
        if isinstance(row, str):
            raise RuntimeError(f"the savepoint holds a row of merchants that this release cannot read: {row}")  # noqa: TRY004
        if row.entity in self.table.entities:
            self.table.put(row)
        else:
            self._unwanted[row.key] = row.entity
