"""The row of an entity and a slot (contract ``merchant-risk``): what the job of merchants publishes.

Version 1 is the row of a merchant, version 2 that of a terminal, a device or a card. Version 4 is the row of any entity
whose history was lost, until it is complete again.
A row holds the numbers at the start of its slot and at the start of the slot before. A transaction that is minutes
late, or that uses the slot before (``slot_of``), so finds its numbers in the same row.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypedDict, cast

import orjson

from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, WINDOW_DAYS, Entity, WindowRisk, risk_at
from flink_jobs.core.merchants.coverage import complete_from, is_since
from flink_jobs.core.merchants.keys import SEPARATOR, entity_key
from flink_jobs.core.parsing.contract_object import contract_object
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState

ROW_SCHEMA_VERSION: Final = 1
ENTITY_ROW_VERSION: Final = 2
KEPT_ROW_VERSION: Final = 4
ROW_VERSIONS: Final = (ROW_SCHEMA_VERSION, ENTITY_ROW_VERSION, KEPT_ROW_VERSION)
NO_HISTORY: Final = tuple(WindowRisk(0, 0, 0, 0) for _ in WINDOW_DAYS)
"""The numbers of an entity without transactions."""
_MOST: Final = 2**62
_EVERY: Final = tuple(entity.value for entity in Entity)
_OTHERS: Final = tuple(name for name in _EVERY if name != Entity.MERCHANT)


class WindowDocument(TypedDict):
    """The numbers of an entity over one window."""

    days: int
    transactions: int
    log_units: int
    due: int
    frauds: int


class _NumbersDocument(TypedDict):
    """What every version of a row has."""

    slot: int
    starts_at_ms: int
    delay_days: Literal[7]
    windows: list[WindowDocument]
    windows_before: list[WindowDocument]


class MerchantRowDocument(_NumbersDocument):
    """The numbers of a merchant at the start of a slot (contract ``merchant-risk`` v1)."""

    schema_version: Literal[1]
    merchant: str


class EntityRowDocument(_NumbersDocument):
    """The numbers of a terminal, device or card at the start of a slot (contract ``merchant-risk`` v2)."""

    schema_version: Literal[2]
    entity: Literal["terminal", "device", "card"]
    id: str


class KeptRowDocument(_NumbersDocument):
    """The numbers of an entity whose history is kept since some time only (contract ``merchant-risk`` v4)."""

    schema_version: Literal[4]
    entity: Literal["merchant", "terminal", "device", "card"]
    id: str
    kept_since_ms: int


class EntityRow(NamedTuple):
    """The numbers of an entity at the start of a slot and of the slot before, one ``WindowRisk`` per window."""

    entity: Entity
    name: str
    """Id of the merchant, terminal, device or card."""
    slot: int
    windows: tuple[WindowRisk, ...]
    before: tuple[WindowRisk, ...]
    kept_since_ms: int = 0
    """Event time from which the numbers are known, milliseconds since the epoch; 0: they are complete."""

    @property
    def key(self) -> str:
        """Return the key of the message and of the detector's state."""
        return entity_key(self.entity, self.name)

    @property
    def is_empty(self) -> bool:
        """Return whether the entity has no history in either slot, and this is certain: the same as no row."""
        return self.kept_since_ms == 0 and self.windows == self.before == NO_HISTORY

    @property
    def complete_from(self) -> int:
        """Return the first slot whose transactions may use the numbers."""
        return complete_from(self.kept_since_ms)

    def to_json(self) -> str:
        """Return the message for the topic."""
        numbers: _NumbersDocument = {
            "slot": self.slot,
            "starts_at_ms": self.slot * SLOT_MS,
            "delay_days": DEFAULT_DELAY_DAYS,
            "windows": _documents(self.windows),
            "windows_before": _documents(self.before),
        }
        document: MerchantRowDocument | EntityRowDocument | KeptRowDocument
        if self.kept_since_ms:
            document = {
                "schema_version": KEPT_ROW_VERSION,
                "entity": self.entity.value,
                "id": self.name,
                "kept_since_ms": self.kept_since_ms,
                **numbers,
            }
        elif self.entity is Entity.MERCHANT:
            document = {"schema_version": ROW_SCHEMA_VERSION, "merchant": self.name, **numbers}
        else:
            whose = cast("Literal['terminal', 'device', 'card']", self.entity.value)
            document = {"schema_version": ENTITY_ROW_VERSION, "entity": whose, "id": self.name, **numbers}
        return orjson.dumps(document).decode()


def row_of(
    name: str, state: MerchantState, slot: int, entity: Entity = Entity.MERCHANT, kept_since_ms: int = 0
) -> EntityRow:
    """Return the row of an entity and a slot; ``kept_since_ms`` is that of the row."""
    now, before = (risk_at(state, number, DEFAULT_DELAY_DAYS) for number in (slot, slot - 1))
    return EntityRow(entity, name, slot, now, before, kept_since_ms)


def parse_row(payload: bytes | None) -> EntityRow | str:
    """Return the row in some bytes, or why they are none; the text quotes no value."""
    document = contract_object(payload, *ROW_VERSIONS)
    return document if isinstance(document, str) else row_in(document)


def row_in(document: dict[str, Any]) -> EntityRow | str:
    """Return the row in a document of version 1, 2 or 4, or why it is none; the text quotes no value."""
    found = _whose(document)
    if isinstance(found, str):
        return found
    entity, name = found
    slot = document.get("slot")
    if type(slot) is not int or not 0 <= slot < 2**31:
        return "slot must be the number of a slot since 1970"
    if document.get("delay_days") != DEFAULT_DELAY_DAYS:
        return f"delay_days must be {DEFAULT_DELAY_DAYS}, the delay of labels of this release"
    now, before = _windows(document.get("windows")), _windows(document.get("windows_before"))
    if now is None or before is None:
        return f"windows and windows_before must hold the numbers of {WINDOW_DAYS} days"
    since: Any = 0
    if document["schema_version"] == KEPT_ROW_VERSION:
        since = document.get("kept_since_ms")
        if not is_since(since, 1):
            return "kept_since_ms must be milliseconds since 1970"
    return EntityRow(entity, name, slot, now, before, since)


def _whose(document: dict[str, Any]) -> tuple[Entity, str] | str:
    """Return entity and id of a row, or why there are none."""
    entity, field = Entity.MERCHANT, "merchant"
    if document["schema_version"] != ROW_SCHEMA_VERSION:
        allowed = _OTHERS if document["schema_version"] == ENTITY_ROW_VERSION else _EVERY
        found, field = document.get("entity"), "id"
        if type(found) is not str or found not in allowed:
            return f"entity must be {' or '.join(allowed)}"
        entity = Entity(found)
    name = document.get(field)
    if type(name) is not str or not name or SEPARATOR in name:
        return f"{field} must be a text without control characters"
    return entity, name


def _documents(windows: tuple[WindowRisk, ...]) -> list[WindowDocument]:
    return [
        {"days": days, "transactions": item.bought, "log_units": item.log_sum, "due": item.due, "frauds": item.frauds}
        for days, item in zip(WINDOW_DAYS, windows, strict=True)
    ]


def _windows(value: Any) -> tuple[WindowRisk, ...] | None:  # noqa: ANN401 - anything of a JSON document
    if type(value) is not list or len(value) != len(WINDOW_DAYS):
        return None
    windows = []
    for days, item in zip(WINDOW_DAYS, value, strict=True):
        if type(item) is not dict or item.get("days") != days:
            return None
        numbers: list[Any] = [item.get(name) for name in ("transactions", "log_units", "due", "frauds")]
        if not all(type(number) is int and 0 <= number < _MOST for number in numbers):
            return None
        windows.append(WindowRisk(*numbers))
    return tuple(windows)
