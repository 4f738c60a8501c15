"""Compares the gold marts with the same figures counted in Python from the documents of the topics."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from flink_jobs.settings import Settings
from tests.integration.decided_cards import DecidedCards, Document


def gold(settings: Settings, text: str) -> list[tuple[Any, ...]]:
    """Run a query with the analyst's database role, so that the tests see what an analyst sees."""
    with psycopg.connect(settings.postgres_dsn_as("analyst")) as connection:
        return connection.execute(text.encode()).fetchall()


def moment(decision: Document) -> datetime:
    """Return the event time."""
    return datetime.fromtimestamp(decision["event_time_ms"] / 1000, UTC)


def compare_marts(settings: Settings, cards: DecidedCards) -> None:
    """Compare transactions, alerts, days, hours and dead letters in gold with the documents, row by row."""
    assert min(map(len, (cards.decisions, cards.alerts, cards.dlq))) > 0, "nothing to compare"
    _compare_transactions(settings, cards)
    _compare_days(settings, cards)
    hours = Counter(moment(decision).replace(minute=0, second=0, microsecond=0) for decision in cards.decisions)
    assert dict(gold(settings, "SELECT hour_start, transaction_count FROM gold.fct_hourly_volume")) == hours
    letters = Counter((letter["reason"], letter["disposition"]) for letter in cards.dlq)
    assert len(letters) > 1
    found = gold(settings, "SELECT reason_code, disposition, count(*) FROM gold.fct_dead_letters GROUP BY 1, 2")
    assert {row[:2]: row[2] for row in found} == letters
    alerts = gold(settings, "SELECT alert_id, occurred_at, fraud_score FROM gold.fct_fraud_alerts")
    assert sorted(alerts) == sorted((alert["alert_id"], moment(alert), alert["score"]) for alert in cards.alerts)


def _compare_transactions(settings: Settings, cards: DecidedCards) -> None:
    columns = (
        "customer_id, transaction_id, occurred_at, amount, fraud_score, is_alert, velocity_count, main_reason_code"
    )
    found = gold(settings, f"SELECT {columns} FROM gold.fct_transactions")  # noqa: S608
    expected = [
        (
            d["customer_id"], d["transaction_id"], moment(d), Decimal(d["amount_minor"]) / 100, d["score"],
            d["is_alert"], d["features"]["velocity_count"],
            d["reasons"][0]["code"] if d["reasons"] else None,
        )
        for d in cards.decisions
    ]  # fmt: skip
    assert sorted(found, key=str) == sorted(expected, key=str)


def _compare_days(settings: Settings, cards: DecidedCards) -> None:
    days: dict[tuple[date, str], list[Document]] = defaultdict(list)
    for decision in cards.decisions:
        days[moment(decision).date(), decision["currency"]].append(decision)
    assert len(days) > 3
    found = gold(
        settings,
        "SELECT occurred_on, currency, transaction_count, transaction_amount, alert_count, customer_count, mean_score"
        " FROM gold.fct_daily_fraud_summary ORDER BY 1, 2",
    )
    assert [row[:6] for row in found] == [
        (
            *key, len(of_day), Decimal(sum(d["amount_minor"] for d in of_day)) / 100,
            sum(d["is_alert"] for d in of_day), len({d["customer_id"] for d in of_day}),
        )
        for key, of_day in sorted(days.items())
    ]  # fmt: skip
    means = [sum(d["score"] for d in of_day) / len(of_day) for _, of_day in sorted(days.items())]
    assert [row[6] for row in found] == pytest.approx(means)
