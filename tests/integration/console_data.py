"""Customers, decisions, alerts and cases for tests of the console."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from flink_jobs.settings import Settings
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS

START_MS: Final = 1_700_000_000_000
DAY_MS: Final = 86_400_000
DECISION: Final = """
    INSERT INTO raw.decisions (customer_id, transaction_id, schema_version, event_time_ms, processing_time_ms,
        amount_minor, currency, merchant, category, country, score, rule_score, ml_score, alpha, threshold, is_alert,
        features, absent, reasons, model, model_version, variant, ruleset_version, config_revision, out_of_order_ms,
        source_topic, source_partition, source_offset)
    VALUES (%(customer)s, %(id)s, 2, %(at)s, %(at)s, %(amount)s, 'EUR', %(merchant)s, 'groceries', %(country)s,
        %(score)s, %(score)s, %(score)s, 0.5, 0.4, %(is_alert)s, %(features)s, %(absent)s, %(reasons)s, 'ok', 'v1',
        'champion', '2', 0, 0, 't', 0, 0)
"""
ALERT: Final = """
    INSERT INTO raw.alerts (alert_id, schema_version, transaction_id, customer_id, event_time_ms, processing_time_ms,
        amount_minor, currency, merchant, category, country, score, rule_score, ml_score, threshold, reasons, features,
        contributions, model, model_version, variant, ruleset_version, config_revision)
    VALUES ('a-' || %(id)s, 2, %(id)s, %(customer)s, %(at)s, %(at)s, %(amount)s, 'EUR', %(merchant)s, 'groceries',
        %(country)s, %(score)s, %(score)s, %(score)s, 0.4, %(reasons)s, %(features)s, %(contributions)s, 'ok', 'v1',
        'champion', '2', 0)
"""
CASE: Final = """
    INSERT INTO cases.cases (customer_id, priority, due_at, alert_count, last_alert_at)
    VALUES (%(customer)s, %(loss)s, now() + interval '1 hour', 1, now()) RETURNING case_id
"""
CASE_ALERT: Final = """
    INSERT INTO cases.alerts (alert_id, event_time_ms, case_id, customer_id, transaction_id, amount_minor, currency,
        score, expected_loss)
    VALUES ('a-' || %(id)s, %(at)s, %(case)s, %(customer)s, %(id)s, %(amount)s, 'EUR', %(score)s, %(loss)s)
"""
REASONS: Final = json.dumps(
    [{"code": code, "contribution": 0.3} for code in ("HIGH_AMOUNT", "HIGH_VELOCITY", "UNUSUAL_TIME", "MODEL_ANOMALY")]
)
FEATURES: Final = json.dumps(
    {"amount_ratio": 8.3, "velocity_count": 6.0, "time_deviation": 0.96, "geo_speed_kmh": None, "amount_zscore": 7.5}
)


@contextmanager
def console_database(server: Settings) -> Iterator[Settings]:
    """Yield the settings of a new, migrated database on a server; drop it afterwards."""
    own = server.model_copy(update={"postgres_database": f"test_console_{secrets.token_hex(4)}"})
    name = sql.Identifier(own.postgres_database)
    with psycopg.connect(server.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            apply_migrations(own.postgres_dsn, MIGRATIONS)
            yield own
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def add_customer(
    connection: psycopg.Connection[Any],
    customer: str,
    loss: float,
    merchant: str = "Corner Shop",
    hop: tuple[str, float] | None = None,
) -> int:
    """Add a customer with thirty days of purchases and one alert in an open case; return the number of the case.

    ``hop`` is the country of the alert, and the speed in km/h from Germany, where the purchases were made.
    """
    purchase = {
        "customer": customer, "merchant": merchant, "country": "DE", "score": 0.05, "is_alert": False, "features": "{}",
        "absent": "{}", "reasons": "[]",
    }  # fmt: skip
    for day in range(30):
        at = START_MS - (30 - day) * DAY_MS + (day % 5) * 3_600_000
        connection.execute(
            DECISION, purchase | {"id": f"{customer}-{day}", "at": at, "amount": 1_500 + 100 * (day % 7)}
        )
    alert = purchase | {
        "id": f"{customer}-alert", "at": START_MS, "amount": 123_456, "score": 0.9, "is_alert": True,
        "features": FEATURES, "absent": json.dumps({"geo_speed_kmh": "no_location"}), "reasons": REASONS,
        "contributions": json.dumps({"amount_ratio": 0.31, "velocity_count": 0.12, "time_deviation": -0.04}),
    }  # fmt: skip
    if hop is not None:
        alert |= {
            "country": hop[0],
            "features": json.dumps({**json.loads(FEATURES), "geo_speed_kmh": hop[1]}),
            "absent": "{}",
        }
    connection.execute(DECISION, alert)
    connection.execute(ALERT, alert)
    row = connection.execute(CASE, {"customer": customer, "loss": loss}).fetchone()
    assert row is not None
    connection.execute(CASE_ALERT, alert | {"case": row[0], "loss": loss})
    return int(row[0])
