"""The console and the reports have one source of colours, and both schemes are readable."""

from __future__ import annotations

import re
from itertools import product

import pytest

from api.console.pages import ASSETS
from flink_jobs.reports.charts import Series, line_chart
from flink_jobs.reports.pages import TEMPLATES, answers_page
from flink_jobs.reports.styles import SHARED

COLOUR = re.compile(r"#[0-9a-f]{3,8}\b")
OWN = {
    "the console": ASSETS["console.css"].decode(),
    "the reports": (TEMPLATES / "style.css").read_text(encoding="utf-8"),
}


def tokens() -> dict[str, dict[str, str]]:
    """Return the colours of each scheme by name."""
    blocks = re.findall(r":root \{(.*?)\}", SHARED, re.DOTALL)
    assert len(blocks) == 2
    named = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", block)) for block in blocks]
    assert named[0].keys() == named[1].keys()
    return dict(zip(("light", "dark"), named, strict=True))


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_charts_stand_out_from_both_backgrounds(scheme: str) -> None:
    colours = tokens()[scheme]
    texts = ("ink", "quiet", "link", "bad", "good", "warn")
    series = [name for name in colours if name.startswith("series-")]
    assert len(series) == 8
    for name, background in product(texts, ("paper", "panel")):
        assert contrast(colours[name], colours[background]) >= 4.5, name
    for name, background in product(series, ("paper", "panel")):
        assert contrast(colours[name], colours[background]) >= 3.0, name
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["ink"], colours["mark"]) >= 4.5


@pytest.mark.parametrize("whose", OWN)
def test_only_the_shared_sheet_has_colours_and_it_has_every_colour_that_is_used(whose: str) -> None:
    assert COLOUR.findall(OWN[whose]) == []
    used = set(re.findall(r"var\(--([a-z0-9-]+)", OWN[whose] + SHARED))
    assert used <= tokens()["light"].keys()


def test_a_chart_has_the_colours_of_the_shared_sheet() -> None:
    lines = [Series(str(number), [0.0, 1.0], [0.0, number]) for number in range(1, 9)]
    svg = line_chart("all colours", ("x", "y"), lines, diagonal=True)
    used = set(re.findall(r"var\(--([a-z0-9-]+), #[0-9a-f]{6}\)", svg))
    assert used == {*(f"series-{number}" for number in range(1, 9)), "quiet", "rule"}
    assert COLOUR.findall(re.sub(r"var\([^)]*\)|href=\"[^\"]*\"|id=\"[^\"]*\"", "", svg)) == []
    assert "DejaVu" not in svg


def test_a_report_has_the_shared_sheet_inside_and_loads_nothing() -> None:
    text = answers_page("A day", "note", [])
    assert SHARED in text
    assert not re.search(r"(?:href|src)=|url\(|@import", text)
    assert ASSETS["shared.css"].decode() == SHARED
