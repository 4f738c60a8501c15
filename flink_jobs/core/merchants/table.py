"""The detector's table of merchants: the newest row of each merchant, and the inputs of a transaction from it."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.entity_risk import RISK_NAMES, WINDOW_DAYS, Entity, WindowRisk, risk_inputs, slot_of
from flink_jobs.core.merchants.row import NO_HISTORY
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.state.merchant import SLOTS_PER_DAY

if TYPE_CHECKING:
    from flink_jobs.core.merchants.row import MerchantRow
    from flink_jobs.core.transaction import Transaction

MOST_SLOTS_BEHIND: Final = SLOTS_PER_DAY
"""Slots between the newest row and a transaction from which no transaction is scored with the rows: a day."""
_NOTHING: Final = (None,) * len(RISK_NAMES[Entity.MERCHANT])
_FIELDS: Final = 4
_PACKED: Final = Struct(f"<i{2 * _FIELDS * len(WINDOW_DAYS)}q")
"""A row takes 196 bytes in memory; as tuples it would take ten times as much."""


class MerchantTable:
    """The newest row of each merchant."""

    def __init__(self) -> None:
        """Start without rows."""
        self._rows: dict[str, bytes] = {}
        self._newest = -1
        self.other_slots = 0
        """Look-ups that found a row of an earlier slot than that of the transaction, or of a much later one."""

    def __len__(self) -> int:
        """Return the number of merchants with history."""
        return len(self._rows)

    def put(self, row: MerchantRow) -> None:
        """Use a row from now on. A merchant without history needs no row."""
        self._newest = max(self._newest, row.slot)
        if row.is_empty:
            self._rows.pop(row.merchant, None)
            return
        numbers = [number for window in (*row.windows, *row.before) for number in window]
        self._rows[row.merchant] = _PACKED.pack(row.slot, *numbers)

    def inputs(self, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent.

        Raises:
            InputsNotReady: there is no row at all, or every row is older than a day: without rows each merchant would
                look like one without fraud.
        """
        if transaction.merchant is None:
            return _NOTHING
        slot = slot_of(transaction.event_time_ms)
        if self._newest < 0 or slot - self._newest > MOST_SLOTS_BEHIND:
            raise InputsNotReady("no current rows of merchants; check the job `merchants`")
        amount = major_amount(transaction.amount_minor, transaction.currency)
        return risk_inputs(self.windows(transaction.merchant, slot), amount)

    def windows(self, merchant: str, slot: int) -> tuple[WindowRisk, ...]:
        """Return the numbers of a merchant for a slot, or those of the nearest slot that the table has."""
        packed = self._rows.get(merchant)
        if packed is None:
            return NO_HISTORY
        of_row, *numbers = _PACKED.unpack(packed)
        if slot > of_row or slot < of_row - 1:
            self.other_slots += 1
        start = 0 if slot >= of_row else _FIELDS * len(WINDOW_DAYS)
        return tuple(
            WindowRisk(*numbers[place : place + _FIELDS])
            for place in range(start, start + _FIELDS * len(WINDOW_DAYS), _FIELDS)
        )
