"""The analyst's page and its charts, from answers made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.warehouse import svg
from flink_jobs.warehouse.queries import Answer, SqlFile
from flink_jobs.warehouse.report import Findings, page


@pytest.mark.parametrize(
    ("largest", "limit"), [(7, 8), (40, 40), (0.03, 0.04), (0, 1), (1, 1), (9.1, 10), (1001, 2000), (-3, 1)]
)
def test_axes_end_at_round_numbers(largest: float, limit: float) -> None:
    assert svg.nice_limit(largest) == pytest.approx(limit)


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_an_axis_holds_its_largest_value_and_wastes_little(largest: float) -> None:
    limit = svg.nice_limit(largest)
    assert limit >= largest * (1 - 1e-9)
    assert limit <= largest * 2.01


@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=40))
def test_every_value_has_its_mark_inside_the_chart(values: list[float]) -> None:
    labels = [f"<{index}>" for index in range(len(values))]
    bars = ET.fromstring(svg.columns(labels, values, "a & b"))  # noqa: S314 - our own text
    heights = [float(bar.get("height", "")) for bar in bars.iter("rect")]
    assert len(heights) == len(values)
    assert all(0 <= height <= svg.HEIGHT for height in heights)
    dots = ET.fromstring(svg.line(labels, values, "a & b"))  # noqa: S314
    assert len(list(dots.iter("circle"))) == len(values)


def test_the_page_escapes_what_merchants_call_themselves() -> None:
    query = SqlFile("merchants", "Which?", "select")
    answer = Answer(
        ("merchant", "alerts", "share", "last_seen", "note"),
        [("<script>x</script>", 1_200, Decimal("1.5"), datetime(2024, 1, 15, 3, 4, tzinfo=UTC), None)],
    )
    text = page(Findings(date(2024, 1, 15), {"merchants": (query, answer)}), datetime(2024, 1, 17, tzinfo=UTC))
    assert "<script" not in text
    assert "&lt;script&gt;x" in text
    assert '<td class="n">1,200</td><td class="n">1.5</td><td>2024-01-15 03:04</td><td>-</td>' in text
    assert "Card fraud on 2024-01-15" in text
    assert "Written 2024-01-17 00:00 UTC" in text


def test_an_empty_answer_says_so() -> None:
    findings = Findings(date(2024, 1, 15), {"q": (SqlFile("q", "What?", "select"), Answer(("a",), []))})
    assert "<p>Nothing.</p>" in page(findings)
