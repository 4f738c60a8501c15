"""The row of a merchant and a slot (contract ``merchant-risk`` v1): what the job of merchants publishes.

A row holds the numbers at the start of its slot and at the start of the slot before. A transaction that is minutes
late, or that uses the slot before (``slot_of``), so finds its numbers in the same row.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypedDict

import orjson

from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, WINDOW_DAYS, WindowRisk, risk_at
from flink_jobs.core.parsing.contract_object import contract_object
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState

ROW_SCHEMA_VERSION: Final = 1
NO_HISTORY: Final = tuple(WindowRisk(0, 0, 0, 0) for _ in WINDOW_DAYS)
"""The numbers of a merchant without transactions."""
_MOST: Final = 2**62


class WindowDocument(TypedDict):
    """The numbers of a merchant over one window."""

    days: int
    transactions: int
    log_units: int
    due: int
    frauds: int


class MerchantRowDocument(TypedDict):
    """The numbers of a merchant at the start of a slot (contract ``merchant-risk`` v1)."""

    schema_version: Literal[1]
    merchant: str
    slot: int
    starts_at_ms: int
    delay_days: Literal[7]
    windows: list[WindowDocument]
    windows_before: list[WindowDocument]


class MerchantRow(NamedTuple):
    """The numbers of a merchant at the start of a slot and of the slot before, one ``WindowRisk`` per window."""

    merchant: str
    slot: int
    windows: tuple[WindowRisk, ...]
    before: tuple[WindowRisk, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether the merchant has no history in either slot: the same as no row."""
        return self.windows == self.before == NO_HISTORY

    def to_json(self) -> str:
        """Return the message for the topic."""
        document: MerchantRowDocument = {
            "schema_version": ROW_SCHEMA_VERSION,
            "merchant": self.merchant,
            "slot": self.slot,
            "starts_at_ms": self.slot * SLOT_MS,
            "delay_days": DEFAULT_DELAY_DAYS,
            "windows": _documents(self.windows),
            "windows_before": _documents(self.before),
        }
        return orjson.dumps(document).decode()


def row_of(merchant: str, state: MerchantState, slot: int) -> MerchantRow:
    """Return the row of a merchant and a slot."""
    now, before = (risk_at(state, number, DEFAULT_DELAY_DAYS) for number in (slot, slot - 1))
    return MerchantRow(merchant, slot, now, before)


def parse_row(payload: bytes | None) -> MerchantRow | str:
    """Return the row in some bytes, or why they are none; the text quotes no value."""
    document = contract_object(payload, ROW_SCHEMA_VERSION)
    if isinstance(document, str):
        return document
    merchant, slot = document.get("merchant"), document.get("slot")
    if type(merchant) is not str or not merchant:
        return "merchant must be a text"
    if type(slot) is not int or not 0 <= slot < 2**31:
        return "slot must be the number of a slot since 1970"
    if document.get("delay_days") != DEFAULT_DELAY_DAYS:
        return f"delay_days must be {DEFAULT_DELAY_DAYS}, the delay of labels of this release"
    now, before = _windows(document.get("windows")), _windows(document.get("windows_before"))
    if now is None or before is None:
        return f"windows and windows_before must hold the numbers of {WINDOW_DAYS} days"
    return MerchantRow(merchant, slot, now, before)


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
