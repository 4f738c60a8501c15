"""The rows of merchants in the detector: broadcast state for savepoints, and the table that models read."""

from typing import Final

from pyflink.common import Types
from pyflink.datastream import KeyedBroadcastProcessFunction
from pyflink.datastream.state import MapStateDescriptor

from flink_jobs.contracts import uids
from flink_jobs.core.merchants.row import parse_row
from flink_jobs.core.merchants.table import MerchantTable
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.log import log_event
from flink_jobs.metrics import catalogue

MERCHANT_ROWS: Final = MapStateDescriptor(uids.MERCHANT_ROWS, Types.STRING(), Types.STRING())


class MerchantRows:
    """The rows of one parallel instance."""

    def __init__(self, metrics: DetectorMetrics) -> None:
        """Start without rows."""
        self.table = MerchantTable()
        self._metrics = metrics
        metrics.before_flush(self._count_look_ups)
        self._is_restored = False

    def _count_look_ups(self) -> None:
        self._metrics.count(catalogue.MERCHANT_OTHER_SLOTS, n=self.table.other_slots)
        self.table.other_slots = 0

    def use(self, payload: bytes | None, ctx: KeyedBroadcastProcessFunction.Context, *, is_reported: bool) -> None:
        """Use a row from now on; bytes that are no row are counted and logged, by one subtask."""
        row = parse_row(payload)
        if not isinstance(row, str):
            self.table.put(row)
            rows = ctx.get_broadcast_state(MERCHANT_ROWS)
            if row.is_empty:
                rows.remove(row.merchant)
            else:
                rows.put(row.merchant, row.to_json())
        elif is_reported:
            log_event("merchant_row_rejected", detail=row)
        if is_reported:
            self._metrics.count(catalogue.MERCHANT_ROWS_READ, "rejected" if isinstance(row, str) else "applied")

    def restore_all(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Use the rows of a restored savepoint, at the first element after ``open``."""
        if not self._is_restored:
            self._is_restored = True
            # Not values(): in thread mode PyFlink calls a method that Java's broadcast state does not have.
            for _, stored in ctx.get_broadcast_state(MERCHANT_ROWS).items():  # noqa: PERF102
                self.restore(stored)

    def restore(self, stored: str) -> None:
        """Use a row of a restored savepoint.

        Raises:
            RuntimeError: this release cannot read the row.
        """
        row = parse_row(stored.encode())
        if isinstance(row, str):
            raise RuntimeError(f"the savepoint holds a row of a merchant that this release cannot read: {row}")  # noqa: TRY004
        self.table.put(row)
