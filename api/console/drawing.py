"""Computes charts that templates draw as SVG; attributes only, no inline style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Final

from api.console.history import DAY_MS, Normal, Purchase
from api.console.pages import moment, money

WIDTH, HEIGHT = 640, 170
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 14, 22
"""Margins of the chart of amounts."""
DAYS: Final = 30
HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Dot:
    """One purchase in a chart."""

    x: float
    y: float
    is_this: bool
    text: str


@dataclass(frozen=True, slots=True)
class AmountChart:
    """The amounts of thirty days, with a logarithmic axis."""

    dots: list[Dot]
    lines: list[tuple[float, str]]
    """Height and label of the grid lines."""
    first: str
    last: str
    summary: str


@dataclass(frozen=True, slots=True)
class HourBar:
    """The purchases of one hour of the day."""

    x: float
    y: float
    height: float
    is_this: bool
    label: str
    text: str


def amount_chart(purchases: Sequence[Purchase], at_ms: int, currency: str, this: str) -> AmountChart | None:
    """Return the chart of a customer's amounts of the thirty days up to a time; ``None`` without a purchase.

    Args:
        purchases: of the customer; other currencies and other days are left out.
        at_ms: event time at the right edge.
        currency: of the amounts.
        this: id of the transaction to mark.
    """
    start = at_ms - DAYS * DAY_MS
    shown = [item for item in purchases if start <= item.event_time_ms <= at_ms and item.currency == currency]
    if not shown:
        return None
    amounts = [max(1, item.amount_minor) for item in shown]
    low, high = log10(min(amounts)), log10(max(amounts))
    if high - low < 1:
        low, high = (low + high) / 2 - 0.5, (low + high) / 2 + 0.5

    def height_of(amount: float) -> float:
        return round(TOP + (high - log10(max(1.0, amount))) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    dots = [
        Dot(
            round(LEFT + (item.event_time_ms - start) / (at_ms - start) * (WIDTH - LEFT - RIGHT), 1),
            height_of(item.amount_minor),
            item.transaction_id == this,
            f"{moment(item.event_time_ms)}: {money(item.amount_minor, currency)}",
        )
        for item in sorted(shown, key=lambda item: item.transaction_id == this)  # this one is drawn last, on top
    ]
    ends = (min(amounts), max(amounts)) if min(amounts) != max(amounts) else (amounts[0],)
    summary = f"{len(shown)} purchases from {money(min(amounts), currency)} to {money(max(amounts), currency)}"
    lines = [(height_of(amount), money(amount, currency)) for amount in ends]
    return AmountChart(dots, lines, moment(start)[:10], moment(at_ms)[:10], summary)


def hour_bars(normal: Normal, hour: int | None) -> list[HourBar]:
    """Return 24 bars with the purchases by hour of the day; ``hour`` is the one to mark."""
    most = max(normal.hours) or 1
    step = (WIDTH - LEFT - RIGHT) / HOURS
    room = 60
    bars = []
    for number, count in enumerate(normal.hours):
        height = round(count / most * room, 1)
        bars.append(
            HourBar(
                round(LEFT + number * step, 1),
                round(room - height, 1),
                max(height, 1.5),
                number == hour,
                f"{number:02}" if number % 6 == 0 else "",
                f"{number:02}:00: {count} purchases",
            )
        )
    return bars
