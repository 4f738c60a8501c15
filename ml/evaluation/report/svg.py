"""The few plots of the report, as inline SVG that follows the page's colours.

A plotting library would bring a hundred packages and write megabytes of paths; the report needs lines, bars and
intervals on a unit square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 460
HEIGHT: Final = 320
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 44
PLOT_W, PLOT_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
ROW_H: Final = 22
NAME_W: Final = 210
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#777777")
"""Okabe and Ito's palette: told apart by colour-blind readers too."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one line; `low` and `high` are drawn as whiskers where given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of an interval plot; a None value is shown as a gap."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    note: str = ""


UNIT_TICKS: Final = tuple(f"{tick / 5:g}" for tick in range(6))


def line_plot(
    title: str,
    labels: tuple[str, str],
    series: Sequence[Series],
    *,
    diagonal: bool = False,
    ticks: tuple[Sequence[str], Sequence[str]] = (UNIT_TICKS, UNIT_TICKS),
) -> str:
    """Draw lines over the unit square; other ticks name what its sides stand for."""
    parts = [_axes(labels, *ticks)]
    if diagonal:
        parts.append(f'<line class="guide" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>')
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{_x(x)},{_y(y)}" for x, y in zip(one.x, one.y, strict=True))
        parts.append(
            f'<polyline class="line" stroke="{colour}" points="{points}"><title>{escape(one.name)}</title></polyline>'
        )
        for x, y, low, high in zip(one.x, one.y, one.low, one.high, strict=False):
            parts.append(f'<line stroke="{colour}" x1="{_x(x)}" x2="{_x(x)}" y1="{_y(low)}" y2="{_y(high)}"/>')
            parts.append(f'<circle fill="{colour}" cx="{_x(x)}" cy="{_y(y)}" r="3"/>')
    return _figure(title, parts, HEIGHT, [one.name for one in series])


def histogram(title: str, label: str, classes: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Draw each class as shares of its own rows over equal bins of 0 to 1, so that a rare class can be seen."""
    shares = [[count / max(1, sum(counts)) for count in counts] for _, counts in classes]
    top = max((share for one in shares for share in one), default=0.0) or 1.0
    ticks = [f"{top * tick / 4:.0%}" for tick in range(5)]
    parts = [_axes((label, "share of the class"), [f"{tick / 5:g}" for tick in range(6)], ticks)]
    for number, one in enumerate(shares):
        width = PLOT_W / len(one)
        for place, share in enumerate(one):
            height = PLOT_H * share / top
            x, y = LEFT + place * width, TOP + PLOT_H - height
            if share:
                parts.append(
                    f'<rect fill="{COLOURS[number]}" fill-opacity="0.55" x="{x:.1f}" y="{y:.1f}" '
                    f'width="{width:.1f}" height="{height:.1f}"/>'
                )
    return _figure(title, parts, HEIGHT, [name for name, _ in classes])


def interval_plot(title: str, label: str, rows: Sequence[Interval]) -> str:
    """Draw one dot and its interval per row, on 0 to 1."""
    height = TOP + ROW_H * len(rows) + BOTTOM
    span = WIDTH - NAME_W - RIGHT
    bottom = TOP + ROW_H * len(rows)
    parts = []
    for tick in range(6):
        x = NAME_W + span * tick / 5
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick / 5:g}</text>')
    for number, row in enumerate(rows):
        y = TOP + ROW_H * (number + 0.5)
        name = escape(row.name if len(row.name) <= 34 else row.name[:33] + "…")  # noqa: PLR2004 - what fits
        parts.append(
            f'<text x="{NAME_W - 8}" y="{y + 4:.1f}" text-anchor="end">{name}<title>{escape(row.note)}</title></text>'
        )
        if row.value is None:
            continue
        if row.low is not None and row.high is not None:
            low, high = NAME_W + span * row.low, NAME_W + span * row.high
            parts.append(
                f'<line stroke="{COLOURS[0]}" stroke-width="2" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            )
        parts.append(f'<circle fill="{COLOURS[0]}" cx="{NAME_W + span * row.value:.1f}" cy="{y}" r="4"/>')
    parts.append(f'<text x="{NAME_W + span / 2:.1f}" y="{bottom + 36}" text-anchor="middle">{escape(label)}</text>')
    return _figure(title, parts, height, [])


def _x(value: float) -> str:
    return f"{LEFT + PLOT_W * value:.1f}"


def _y(value: float) -> str:
    return f"{TOP + PLOT_H * (1.0 - value):.1f}"


def _axes(labels: tuple[str, str], x_ticks: Sequence[str], y_ticks: Sequence[str]) -> str:
    parts = []
    for number, text in enumerate(x_ticks):
        x = _x(number / (len(x_ticks) - 1))
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{TOP + PLOT_H}"/>')
        parts.append(f'<text x="{x}" y="{TOP + PLOT_H + 16}" text-anchor="middle">{text}</text>')
    for number, text in enumerate(y_ticks):
        y = _y(number / (len(y_ticks) - 1))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT_W}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{text}</text>')
    middle = TOP + PLOT_H / 2
    parts.append(f'<text x="{LEFT + PLOT_W / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(labels[0])}</text>')
    parts.append(
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(labels[1])}</text>'
    )
    return "".join(parts)


def _figure(title: str, parts: Sequence[str], height: float, legend: Sequence[str]) -> str:
    keys = "".join(
        f'<span class="key"><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(name)}</span>'
        for number, name in enumerate(legend)
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg><div class="legend">{keys}</div></figure>'
    )
