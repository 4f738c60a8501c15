"""The outlines and the middles of countries, for maps: Natural Earth at 1:110 million, from ``world-atlas`` of npm.

The file is TopoJSON: borders are arcs, which neighbours share. Its countries have ISO 3166-1 numeric codes; decisions
have alpha-2 codes. Antarctica is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

FILE: Final = Path(__file__).parent / "assets" / "countries-110m-2.0.2.json"
NUMBERS: Final = """
AE:784 AF:004 AL:008 AM:051 AO:024 AR:032 AT:040 AU:036 AZ:031 BA:070 BD:050 BE:056 BF:854 BG:100 BI:108 BJ:204 BN:096
BO:068 BR:076 BS:044 BT:064 BW:072 BY:112 BZ:084 CA:124 CD:180 CF:140 CG:178 CH:756 CI:384 CL:152 CM:120 CN:156 CO:170
CR:188 CU:192 CY:196 CZ:203 DE:276 DJ:262 DK:208 DO:214 DZ:012 EC:218 EE:233 EG:818 EH:732 ER:232 ES:724 ET:231 FI:246
FJ:242 FK:238 FR:250 GA:266 GB:826 GE:268 GH:288 GL:304 GM:270 GN:324 GQ:226 GR:300 GT:320 GW:624 GY:328 HN:340 HR:191
HT:332 HU:348 ID:360 IE:372 IL:376 IN:356 IQ:368 IR:364 IS:352 IT:380 JM:388 JO:400 JP:392 KE:404 KG:417 KH:116 KP:408
KR:410 KW:414 KZ:398 LA:418 LB:422 LK:144 LR:430 LS:426 LT:440 LU:442 LV:428 LY:434 MA:504 MD:498 ME:499 MG:450 MK:807
ML:466 MM:104 MN:496 MR:478 MW:454 MX:484 MY:458 MZ:508 NA:516 NC:540 NE:562 NG:566 NI:558 NL:528 NO:578 NP:524 NZ:554
OM:512 PA:591 PE:604 PG:598 PH:608 PK:586 PL:616 PR:630 PS:275 PT:620 PY:600 QA:634 RO:642 RS:688 RU:643 RW:646 SA:682
SB:090 SD:729 SE:752 SI:705 SK:703 SL:694 SN:686 SO:706 SR:740 SS:728 SV:222 SY:760 SZ:748 TD:148 TF:260 TG:768 TH:764
TJ:762 TL:626 TM:795 TN:788 TR:792 TT:780 TW:158 TZ:834 UA:804 UG:800 US:840 UY:858 UZ:860 VE:862 VN:704 VU:548 YE:887
ZA:710 ZM:894 ZW:716
"""
"""The numeric code of each country that has an outline."""
POINTS: Final = """
AD:42,2 AG:17,-62 AI:18,-63 AS:-14,-171 AW:12,-70 AX:60,20 BB:13,-60 BH:26,51 BL:18,-63 BM:32,-65 BQ:12,-68 BV:-54,3
CC:-12,97 CK:-21,-160 CV:15,-24 CW:12,-69 CX:-10,106 DM:15,-61 FM:7,152 FO:62,-7 GD:12,-62 GF:5,-52 GG:49,-3 GI:36,-5
GP:16,-62 GS:-54,-37 GU:13,145 HK:22,114 HM:-53,74 IM:54,-4 IO:-7,72 JE:49,-2 KI:1,173 KM:-12,43 KN:17,-63 KY:19,-81
LC:14,-61 LI:47,10 MC:44,7 MF:18,-63 MH:7,171 MO:22,114 MP:15,146 MQ:15,-61 MS:17,-62 MT:36,15 MU:-20,58 MV:4,74
NF:-29,168 NR:-1,167 NU:-19,-170 PF:-18,-150 PM:47,-56 PN:-25,-130 PW:7,134 RE:-21,55 SC:-5,55 SG:1,104 SH:-16,-6
SJ:78,16 SM:44,12 ST:0,7 SX:18,-63 TC:21,-71 TK:-9,-171 TO:-21,-175 TV:-9,179 UM:28,-177 VA:42,12 VC:13,-61 VG:18,-65
VI:18,-65 WF:-13,-176 WS:-14,-172 YT:-13,45
"""
"""Latitude and longitude of countries without an outline, in whole degrees: of their first city in ``zone.tab`` of
the time zone database (public domain)."""
ANTARCTICA: Final = -60.0
"""All land south of this latitude."""
_WITHOUT_NUMBER: Final = {"Kosovo": "XK"}

Point = tuple[float, float]
"""Longitude and latitude."""
Ring = list[Point]


class Outline(NamedTuple):
    """A country on the map.

    Attributes:
        name: in English; the code where the file has no name.
        middle: of its largest part.
        rings: its outlines; none for a small country.
    """

    name: str
    middle: Point
    rings: list[Ring]


class World(NamedTuple):
    """All land, and the countries by alpha-2 code."""

    land: list[Ring]
    countries: dict[str, Outline]


@lru_cache(maxsize=1)
def world() -> World:
    """Return the world; the file is read once."""
    document = orjson.loads(FILE.read_bytes())
    arcs = [_decoded(arc, document["transform"]) for arc in document["arcs"]]
    codes = {number: code for code, number in (pair.split(":") for pair in NUMBERS.split())}
    countries = {}
    for item in document["objects"]["countries"]["geometries"]:
        name = item["properties"]["name"]
        code = codes.get(item.get("id", "")) or _WITHOUT_NUMBER.get(name)
        if code is not None:
            rings = _rings(item, arcs)
            countries[code] = Outline(name, _middle(max(rings, key=lambda ring: abs(_area(ring)))), rings)
    for code, place in (pair.split(":") for pair in POINTS.split()):
        latitude, longitude = place.split(",")
        countries[code] = Outline(code, (float(longitude), float(latitude)), [])
    land = [ring for item in document["objects"]["land"]["geometries"] for ring in _rings(item, arcs)]
    return World([ring for ring in land if max(y for _, y in ring) > ANTARCTICA], countries)


def _decoded(arc: Sequence[Sequence[int]], transform: dict[str, list[float]]) -> Ring:
    """Return the points of an arc, which the file holds as differences of whole numbers."""
    (x_scale, y_scale), (x_start, y_start) = transform["scale"], transform["translate"]
    x = y = 0
    points = []
    for x_step, y_step in arc:
        x, y = x + x_step, y + y_step
        points.append((x * x_scale + x_start, y * y_scale + y_start))
    return points


def _rings(item: dict[str, Any], arcs: Sequence[Ring]) -> list[Ring]:
    """Return the outer rings of a polygon or of several; ``~n`` is arc ``n`` from its end.

    Longitudes continue beyond 180 degrees where a ring crosses the date line.
    """
    polygons = [item["arcs"]] if item["type"] == "Polygon" else item["arcs"]
    rings = []
    for outer, *_ in polygons:
        ring: Ring = []
        for number in outer:
            arc = arcs[number] if number >= 0 else arcs[~number][::-1]
            ring += arc[1:] if ring else arc  # an arc begins where the one before ends
        rings.append(_continued(ring))
    return rings


def _continued(ring: Ring) -> Ring:
    turns, before, points = 0.0, ring[0][0], []
    for x, y in ring:
        if abs(x - before) > 180:  # noqa: PLR2004 - degrees
            turns += 360.0 if x < before else -360.0
        points.append((x + turns, y))
        before = x
    return points


def _area(ring: Ring) -> float:
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs) / 2


def _middle(ring: Ring) -> Point:
    """Return the centre of mass of a ring."""
    area, x, y = _area(ring), 0.0, 0.0
    for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1], strict=True):
        cross = x1 * y2 - x2 * y1
        x, y = x + (x1 + x2) * cross, y + (y1 + y2) * cross
    return x / (6 * area), y / (6 * area)
