"""Charts are well-formed SVG that needs nothing from outside, and their labels do not overlap."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.reports import charts
from flink_jobs.reports.charts import Interval, Series, bar_chart, histogram, interval_chart, line_chart, trend_chart


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]  # noqa: S314 - our own text


def paths(svg: str) -> int:
    return len(list(ET.fromstring(svg).iter("path")))  # noqa: S314 - our own text


CURVE = [
    Series("a & <b>", [0.0, 0.5, 1.0], [0.0, 0.8, 1.0]),
    Series("_x $y$", [0.1, 0.2], [0.3, 0.4], [0.2] * 2, [0.5] * 2),
]
EVERY = {
    "bar": bar_chart("alerts & <more>", ["<0>", "1"], [3.0, 4.0]),
    "empty bar": bar_chart("nothing", [], []),
    "zero": trend_chart("zero", ["a", "b"], [0.0, 0.0]),
    "trend": trend_chart("days", ["15 Jan"], [7.0]),
    "line": line_chart("ROC", ("x", "y"), CURVE, unit_square=True, diagonal=True),
    "no line": line_chart("none", ("x", "y"), []),
    "histogram": histogram("scores", "score", [("genuine", [5, 0, 1]), ("fraud", [0, 0, 0])]),
    "intervals": interval_chart(
        "recall", "recall", [Interval("商店 <1>", 0.5, 0.4, 0.6), Interval("none", None, None, None)]
    ),
    "no interval": interval_chart("recall", "recall", []),
}


@pytest.mark.parametrize("svg", EVERY.values(), ids=EVERY)
def test_a_chart_is_one_svg_element_without_addresses(svg: str) -> None:
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    assert root.tag == "svg"
    assert root.get("aria-label")
    assert "http" not in svg
    assert "url(" not in svg
    assert "nan" not in svg
    references = {element.get("href", "")[1:] for element in root.iter("use")}
    assert references <= {element.get("id") for element in root.iter()}


def test_names_are_shown_as_they_are() -> None:
    assert {"<0>", "1"} <= set(texts(EVERY["bar"]))
    assert {"a & <b>", "_x $y$", "x", "y"} <= set(texts(EVERY["line"]))
    assert {"商店 <1>", "none"} <= set(texts(EVERY["intervals"]))
    assert {"genuine", "fraud"} <= set(texts(EVERY["histogram"]))


def test_the_same_values_give_the_same_chart() -> None:
    assert bar_chart("alerts & <more>", ["<0>", "1"], [3.0, 4.0]) == EVERY["bar"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=40))
def test_every_value_has_its_bar(values: list[float]) -> None:
    labels = [f"<{index}>" for index in range(len(values))]
    drawn = bar_chart("a & b", labels, values)
    assert "nan" not in drawn
    assert paths(drawn) >= len(values)


@pytest.mark.parametrize("count", [1, 7, 12, 13, 30, 90])
def test_labels_under_bars_do_not_overlap(count: int) -> None:
    drawn = trend_chart("days", [f"{day % 28 + 1:02d} Sep" for day in range(count)], [1.0] * count)
    found = [one for one in ET.fromstring(drawn).iter("text") if "Sep" in (one.text or "")]  # noqa: S314 - our own
    places = [float(one.get("x", "")) for one in found]
    assert 1 <= len(found) <= charts.SHOWN_LABELS
    assert len(found) == -(-count // -(-count // charts.SHOWN_LABELS))
    apart = [right - left for left, right in pairwise(places)]
    assert all(gap > 34.0 for gap in apart), "six characters of 9 points are about 31 points wide"
