"""The detector's table of entities: the newest row of each one, and the inputs of a transaction from it."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.entity_risk import (
    RISK_NAMES,
    WINDOW_DAYS,
    Entity,
    WindowRisk,
    entity_id,
    risk_inputs,
    slot_of,
)
from flink_jobs.core.merchants.coverage import NOT_KNOWN_MS
from flink_jobs.core.merchants.row import NO_HISTORY
from flink_jobs.core.merchants.start import EntityStart
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.state.merchant import SLOTS_PER_DAY

if TYPE_CHECKING:
    from flink_jobs.core.merchants.row import EntityRow
    from flink_jobs.core.transaction import Transaction

MOST_SLOTS_BEHIND: Final = SLOTS_PER_DAY
"""Slots between the newest row and a transaction from which no transaction is scored with the rows: a day."""
_NOTHING: Final = (None,) * len(RISK_NAMES[Entity.MERCHANT])
_FIELDS: Final = 4
_PACKED: Final = Struct(f"<i{2 * _FIELDS * len(WINDOW_DAYS)}q")
"""A row takes 196 bytes in memory; as tuples it would take ten times as much."""


class EntityTable:
    """The newest row of each merchant, terminal, device and card."""

    def __init__(self, entities: tuple[Entity, ...] = (Entity.MERCHANT,)) -> None:
        """Start without rows.

        Args:
            entities: whose inputs models may take, in canonical order.
        """
        self.entities = entities
        self._rows: dict[Entity, dict[str, bytes]] = {entity: {} for entity in Entity}
        self._newest = dict.fromkeys(Entity, -1)
        self._complete_from = dict.fromkeys(Entity, 0)
        self._complete_from_of: dict[Entity, dict[str, int]] = {entity: {} for entity in Entity}
        """First slot with complete windows, of ids whose history was lost."""
        self.other_slots = 0
        """Look-ups that found a row of an earlier slot than that of the transaction, or of a much later one."""

    def __len__(self) -> int:
        """Return the number of merchants and other entities with history."""
        return sum(map(len, self._rows.values()))

    def held(self, entity: Entity) -> int:
        """Return the number of merchants or others of an entity with history."""
        return len(self._rows[entity])

    def newest_slot(self, entity: Entity) -> int | None:
        """Return the newest slot of which there was a row of an entity, ``None`` if there was none."""
        newest = self._newest[entity]
        return newest if newest >= 0 else None

    def put(self, row: EntityRow | EntityStart) -> None:
        """Use a row, or a start of an entity, from now on. An entity without history needs no row."""
        if isinstance(row, EntityStart):
            self._complete_from[row.entity] = row.complete_from
            return
        entity, rows = row.entity, self._rows[row.entity]
        if row.kept_since_ms:
            self._complete_from_of[entity][row.name] = row.complete_from
        else:
            self._complete_from_of[entity].pop(row.name, None)
        if row.kept_since_ms == NOT_KNOWN_MS:
            rows.pop(row.name, None)
            return
        self._newest[entity] = max(self._newest[entity], row.slot)
        if row.is_empty:
            rows.pop(row.name, None)
            return
        numbers = [number for window in (*row.windows, *row.before) for number in window]
        rows[row.name] = _PACKED.pack(row.slot, *numbers)

    def inputs(self, entity: Entity, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent.

        Raises:
            InputsNotReady: there is no row of such an entity at all, or every row is older than a day, or the job has
                kept the history of the entity for less than 37 days: each terminal, for example, would look like one
                without fraud. The same holds for one id whose history was lost.
        """
        name = entity_id(transaction, entity)
        if name is None:
            return _NOTHING
        slot = slot_of(transaction.event_time_ms)
        newest = self._newest[entity]
        if newest < 0 or slot - newest > MOST_SLOTS_BEHIND:
            raise InputsNotReady(f"no current rows of {entity}s; check the job `merchants`")
        if slot < self._complete_from[entity]:
            raise InputsNotReady(f"the history of {entity}s is still too short; see the job `merchants`")
        if slot < self._complete_from_of[entity].get(name, 0):
            raise InputsNotReady(f"the history of this {entity} was lost and is too short; see the job `merchants`")
        amount = major_amount(transaction.amount_minor, transaction.currency)
        return risk_inputs(self.windows(name, slot, entity), amount)

    def windows(self, name: str, slot: int, entity: Entity = Entity.MERCHANT) -> tuple[WindowRisk, ...]:
        """Return the numbers of an entity for a slot, or those of the nearest slot that the table has."""
        packed = self._rows[entity].get(name)
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
