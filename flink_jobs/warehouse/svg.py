"""Small charts as SVG text: they need no library, no script and no network in the page that shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 560, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 26
_TICKS = 4
_SMALLEST = 1e-9
"""Below this a value is drawn as nothing."""


def nice_limit(largest: float) -> float:
    """Return the end of an axis: the smallest of 1, 2, 4, 5 or 8 times a power of ten that is not below ``largest``.

    >>> nice_limit(7), nice_limit(40), nice_limit(0.03), nice_limit(0)
    (8.0, 40.0, 0.04, 1)
    """
    if largest < _SMALLEST:
        return 1
    power = 10.0 ** math.floor(math.log10(largest))
    for step in (1, 2, 4, 5, 8):
        if step * power >= largest * (1 - 1e-12):
            return round(step * power, 12)
    return 10 * power


def columns(labels: Sequence[str], values: Sequence[float], title: str) -> str:
    """Return a chart of one upright bar for each label; every bar tells its number when pointed at."""
    limit = nice_limit(max(values, default=0))
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(values))
    every = max(1, round(len(labels) / 12))
    parts = [_axis(limit)]
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        height = (HEIGHT - TOP - BOTTOM) * value / limit
        x, y = LEFT + index * slot, HEIGHT - BOTTOM - height
        parts.append(
            f'<rect class="bar" x="{x + slot * 0.12:.1f}" y="{y:.1f}" width="{slot * 0.76:.1f}" height="{height:.1f}">'
            f"<title>{escape(label)}: {value:g}</title></rect>"
        )
        if index % every == 0:
            parts.append(f'<text x="{x + slot / 2:.1f}" y="{HEIGHT - 8}" class="tick mid">{escape(label)}</text>')
    return _svg(title, parts)


def line(labels: Sequence[str], values: Sequence[float], title: str) -> str:
    """Return a chart of values over labels that follow each other, such as days."""
    limit = nice_limit(max(values, default=0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(values) - 1)
    points = [
        (LEFT + index * step, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / limit)
        for index, value in enumerate(values)
    ]
    every = max(1, round(len(labels) / 6))
    parts = [_axis(limit)]
    parts += [
        f'<line class="line" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'
        for a, b in pairwise(points)
    ]
    for index, ((x, y), label, value) in enumerate(zip(points, labels, values, strict=True)):
        parts.append(
            f'<circle class="bar" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(label)}: {value:g}</title></circle>'
        )
        if index % every == 0:
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" class="tick mid">{escape(label)}</text>')
    return _svg(title, parts)


def _axis(limit: float) -> str:
    lines = []
    for tick in range(_TICKS + 1):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * tick / _TICKS
        lines.append(
            f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="tick end">{limit * tick / _TICKS:g}</text>'
        )
    return "".join(lines)


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        + "".join(parts)
        + "</svg>"
    )
