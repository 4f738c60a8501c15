"""The analyst's page, from hand-written answers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from flink_jobs.warehouse.analyst_page import Findings, page
from flink_jobs.warehouse.queries import Answer, SqlFile


def test_the_page_escapes_merchant_names() -> None:
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
    assert "<p>No rows.</p>" in page(findings)


def test_charts_of_days_and_hours_have_their_numbers_in_a_table() -> None:
    days = Answer(("day", "transactions", "alerts", "alert_percent"), [(date(2024, 1, 15), 1_200, 3, Decimal("0.25"))])
    hours = Answer(("hour", "transactions", "alerts"), [(hour, 50, 1) for hour in range(24)])
    text = page(
        Findings(
            date(2024, 1, 15),
            {
                "daily_trend": (SqlFile("daily_trend", "By day?", "select"), days),
                "fraud_by_hour": (SqlFile("fraud_by_hour", "By hour?", "select"), hours),
            },
        )
    )
    assert text.count("<svg") == 3
    assert '<th scope="col">alert percent</th>' in text
    assert '<td>2024-01-15</td><td class="n">1,200</td><td class="n">3</td><td class="n">0.25</td>' in text
    assert text.count('<td class="n">50</td>') == 24
