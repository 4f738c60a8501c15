"""The map of a hop: every country has a place, and the drawing stays within its edges."""

from __future__ import annotations

import re
from itertools import product

import pytest

from api.console.hop_map import HEIGHT, WIDTH, hop_map
from api.console.world import world
from flink_jobs.core.countries import COUNTRIES

ANTARCTICA = "AQ"


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_every_country_has_its_place_in_the_world() -> None:
    countries = world().countries
    assert countries.keys() == COUNTRIES - {ANTARCTICA}
    assert {code for code in ("DE", "JP", "US", "RU", "HK") if not countries[code].rings} == {"HK"}
    for code, place in {"DE": (10, 51), "FR": (2, 47), "US": (-99, 40), "BR": (-53, -11), "SG": (104, 1)}.items():
        middle = countries[code].middle
        assert abs(middle[0] - place[0]) <= 1, code
        assert abs(middle[1] - place[1]) <= 1, code
    assert countries["XK"].name == "Kosovo"
    assert 80 < countries["RU"].middle[0] < 110, "its outline crosses the date line"


@pytest.mark.parametrize(
    ("start", "end"), [*product(("DE", "US", "JP", "SG", "RU", "FJ"), repeat=2), ("NZ", "CL"), ("IS", "SJ")]
)
def test_a_map_shows_both_countries_and_the_way_within_its_edges(start: str, end: str) -> None:
    found = hop_map(start, end)
    assert found is not None
    drawn = [*points(found.land), *points(found.start), *points(found.end)]
    assert drawn
    assert all(-0.1 <= x <= WIDTH + 0.1 and -0.1 <= y <= HEIGHT + 0.1 for x, y in drawn)
    marks = [(mark.x, mark.y) for mark in found.marks]
    assert len(marks) == (1 if start == end else 2)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in marks)
    way = points(found.route)
    assert (way[:1] + way[-1:] if start != end else marks) == marks


def test_a_way_over_the_date_line_leaves_the_map_and_returns() -> None:
    found = hop_map("JP", "US")
    assert found is not None
    assert found.route.count("M") == 2
    assert found.names == ("Japan", "United States of America")


@pytest.mark.parametrize(("start", "end"), [("", "DE"), ("DE", "QQ"), (ANTARCTICA, "DE")])
def test_without_two_known_countries_there_is_no_map(start: str, end: str) -> None:
    assert hop_map(start, end) is None
