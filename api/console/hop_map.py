"""Draws the way between two countries on a map, as attributes of SVG; no inline style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import asin, atan2, cos, degrees, hypot, radians, sin, sqrt
from typing import Final, NamedTuple

from api.console.world import Outline, Point, Ring, world

WIDTH, HEIGHT = 640, 280
NORTH: Final = 84.0
NARROWEST: Final = 40.0
"""Degrees of longitude that a map shows at least."""
WHOLE: Final = 200.0
"""A map that would show more degrees of longitude shows all of them."""
MARGIN: Final = 0.12
_STEPS: Final = 48
_SMALLEST_STEP: Final = 1.2
"""Points of an outline that are closer in the drawing are left out."""


class Mark(NamedTuple):
    """The middle of a country in the drawing, with the place of its text."""

    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str
    text: str


class HopMap(NamedTuple):
    """A map of one hop.

    Attributes:
        land: path of the land.
        start: path of the country of the purchase before; empty for a country without an outline.
        end: the same of this purchase.
        route: path of the shortest way between their middles; empty within one country.
        marks: the start and the end; one within one country.
        names: of both countries.
    """

    land: str
    start: str
    end: str
    route: str
    marks: list[Mark]
    names: tuple[str, str]


class Window(NamedTuple):
    """The part of the world that a map shows: degrees of its edges, and drawing units per degree."""

    west: float
    south: float
    east: float
    north: float
    x_scale: float
    y_scale: float

    def place(self, point: Point) -> Point:
        """Return a point in the drawing."""
        return round((point[0] - self.west) * self.x_scale, 1), round((self.north - point[1]) * self.y_scale, 1)


@lru_cache(maxsize=256)
def hop_map(start: str, end: str) -> HopMap | None:
    """Return the map of a hop between countries (alpha-2); ``None`` if one of them is not known."""
    known = world()
    first, last = known.countries.get(start), known.countries.get(end)
    if first is None or last is None:
        return None
    way = _way(first.middle, last.middle) if start != end else [last.middle]
    window = _window(first, last, way)
    marks = [] if start == end else [_mark(window, first, start, last.middle[0] < first.middle[0])]
    marks.append(_mark(window, last, end, last.middle[0] >= first.middle[0]))
    return HopMap(
        _path(window, known.land),
        _path(window, first.rings),
        _path(window, last.rings),
        _route(window, way),
        marks,
        (first.name, last.name),
    )


def _way(start: Point, end: Point) -> list[Point]:
    """Return points of the shortest way on the sphere."""
    (x1, y1), (x2, y2) = [(radians(x), radians(y)) for x, y in (start, end)]
    half = sin((y2 - y1) / 2) ** 2 + cos(y1) * cos(y2) * sin((x2 - x1) / 2) ** 2
    angle = 2 * asin(min(1.0, sqrt(half)))
    if sin(angle) == 0:
        return [start, end]
    points = []
    for step in range(_STEPS + 1):
        a, b = sin((1 - step / _STEPS) * angle) / sin(angle), sin(step / _STEPS * angle) / sin(angle)
        x = a * cos(y1) * cos(x1) + b * cos(y2) * cos(x2)
        y = a * cos(y1) * sin(x1) + b * cos(y2) * sin(x2)
        z = a * sin(y1) + b * sin(y2)
        points.append((degrees(atan2(y, x)), degrees(atan2(z, hypot(x, y)))))
    return points


def _window(first: Outline, last: Outline, way: Sequence[Point]) -> Window:
    """Return the part of the world with both countries and the way; the whole one if that is wide."""
    points = [*way, *_largest(first), *_largest(last)]
    west, east = min(x for x, _ in points), max(x for x, _ in points)
    south, north = min(y for _, y in points), max(y for _, y in points)
    middle = (south + north) / 2
    narrower = max(0.4, cos(radians(middle)))  # a degree of longitude is shorter than one of latitude
    span = max(
        NARROWEST, (east - west) * (1 + 2 * MARGIN), (north - south) * (1 + 2 * MARGIN) * WIDTH / HEIGHT / narrower
    )
    if span > WHOLE:
        scale = WIDTH / 360
        return Window(-180.0, NORTH - HEIGHT / scale, 180.0, NORTH, scale, scale)
    centre = min(180 - span / 2, max(span / 2 - 180, (west + east) / 2))
    height = span * narrower * HEIGHT / WIDTH
    top = min(middle + height / 2, 90.0)
    return Window(centre - span / 2, top - height, centre + span / 2, top, WIDTH / span, HEIGHT / height)


def _largest(outline: Outline) -> Ring:
    """Return the part of a country with its middle: islands on the other side of the world are not needed."""
    return max(outline.rings, key=len, default=[outline.middle])


def _path(window: Window, rings: Iterable[Ring]) -> str:
    """Return the path of rings, without their parts outside of the window."""
    parts = []
    for ring in _seen_from(window, rings):
        seen = _inside(ring, window)
        kept: list[Point] = []
        for point in map(window.place, seen):
            if not kept or abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= _SMALLEST_STEP:
                kept.append(point)
        if len(kept) > 2:  # noqa: PLR2004 - a line has no area
            parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in kept) + "Z")
    return "".join(parts)


def _seen_from(window: Window, rings: Iterable[Ring]) -> Iterator[Ring]:
    """Yield the rings that may be in the window; one that crosses the date line may be at both sides."""
    for ring in rings:
        west, east = min(x for x, _ in ring), max(x for x, _ in ring)
        for turn in (0.0, -360.0, 360.0):
            if west + turn < window.east and east + turn > window.west:
                yield [(x + turn, y) for x, y in ring] if turn else ring


def _inside(ring: Ring, window: Window) -> Ring:
    """Return the part of a polygon inside the window (Sutherland-Hodgman)."""
    for axis, limit, sign in ((0, window.west, 1), (0, window.east, -1), (1, window.south, 1), (1, window.north, -1)):
        if all(sign * (point[axis] - limit) >= 0 for point in ring):
            continue
        cut: Ring = []
        for before, point in zip(ring[-1:] + ring[:-1], ring, strict=True):
            was, is_in = sign * (before[axis] - limit) >= 0, sign * (point[axis] - limit) >= 0
            if was != is_in:
                share = (limit - before[axis]) / (point[axis] - before[axis])
                cut.append((before[0] + share * (point[0] - before[0]), before[1] + share * (point[1] - before[1])))
            if is_in:
                cut.append(point)
        ring = cut
        if not ring:
            return ring
    return ring


def _route(window: Window, way: Sequence[Point]) -> str:
    """Return the path of a way; it has two parts where it crosses the date line."""
    parts: list[str] = []
    before = None
    for point in way:
        x, y = window.place(point)
        is_new = before is None or abs(point[0] - before) > 180  # noqa: PLR2004 - degrees
        parts.append(f"{'M' if is_new else 'L'}{x:g} {y:g}")
        before = point[0]
    return "".join(parts) if len(way) > 1 else ""


def _mark(window: Window, outline: Outline, code: str, is_right: bool) -> Mark:  # noqa: FBT001 - a side
    """Return the mark of a country; its text is on the side away from the other country."""
    x, y = window.place(outline.middle)
    text = outline.name if outline.name == code else f"{outline.name} ({code})"
    room = 8 * len(text)
    is_right = (is_right and x + room < WIDTH) or x - room < 0
    return Mark(x, y, x + 9 if is_right else x - 9, y + 4, "start" if is_right else "end", text)
