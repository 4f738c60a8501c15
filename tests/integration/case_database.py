"""A database with alerts, and the services of one API process on it, for tests of cases."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import sql

from api.application import build_services
from api.cases.opening import Opener
from api.cases.viewer import Viewer
from api.services import Services
from api.settings import ApiSettings
from flink_jobs.settings import Settings
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.api_server import patient

T = TypeVar("T")
ALERT = """
    INSERT INTO raw.alerts (alert_id, schema_version, transaction_id, customer_id, event_time_ms, processing_time_ms,
        amount_minor, currency, score, rule_score, threshold, reasons, model, ruleset_version, config_revision)
    VALUES (%(alert)s, 2, %(transaction)s, %(customer)s, %(at)s, %(at)s, %(amount)s, %(currency)s, %(score)s, 0.5, 0.4,
        '[]', 'ok', '2', 0)
"""
DECISION = """
    INSERT INTO raw.decisions (customer_id, transaction_id, schema_version, event_time_ms, processing_time_ms,
        amount_minor, currency, score, rule_score, alpha, threshold, is_alert, features, absent, reasons, model,
        ruleset_version, config_revision, out_of_order_ms, source_topic, source_partition,
        source_offset, terminal, device, card, ip)
    VALUES (%(customer)s, %(transaction)s, 6, %(at)s, %(at)s, 10000, 'USD', 0.5, 0.5, 0.6, 0.4, true, '{}', '{}', '[]',
        'ok', '2', 0, 0, 't', 0, %(number)s, %(terminal)s, %(device)s, %(card)s, %(ip)s)
"""
IDS = ("terminal", "device", "card", "ip")
START_MS = 1_700_000_000_000
ADA = Viewer("user:ada", "request-1", sees_customers=True)
BOB = Viewer("user:bob", "request-2")


@contextmanager
def own_database(server: Settings, name: str) -> Iterator[Settings]:
    """Yield the settings of a new migrated database on a server; drop it afterwards."""
    own = server.model_copy(update={"postgres_database": f"test_{name}_{secrets.token_hex(4)}"})
    identifier = sql.Identifier(own.postgres_database)
    with psycopg.connect(server.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        apply_migrations(own.postgres_dsn, MIGRATIONS)
        yield own
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def add_alert(
    settings: Settings, customer: str, number: int, amount: int = 10_000, score: float = 0.5, currency: str = "USD",
    **ids: str,
) -> str:  # fmt: skip
    """Add an alert as the archive does, with a terminal, device, card or ip; return its transaction id."""
    transaction = f"{customer}-t{number}"
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute(
            ALERT,
            {
                "alert": f"al-{transaction}", "transaction": transaction, "customer": customer, "amount": amount,
                "at": START_MS + number, "score": score, "currency": currency,
            },
        )  # fmt: skip
        for name, value in ids.items():  # apart: a test of migrations has a table without these columns
            change = sql.SQL("UPDATE raw.alerts SET {} = %s WHERE alert_id = %s").format(sql.Identifier(name))
            connection.execute(change, (value, f"al-{transaction}"))
    return transaction


def add_decision(settings: Settings, customer: str, number: int, **ids: str) -> None:
    """Add the decision of an alert of ``add_alert``, with a terminal, device, card or ip."""
    values = dict.fromkeys(IDS) | ids
    place = {"transaction": f"{customer}-t{number}", "customer": customer, "at": START_MS + number, "number": number}
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute(DECISION, place | values)


def with_services(settings: Settings, own: ApiSettings, call: Callable[[Services, Opener], Awaitable[T]]) -> T:
    """Return the result of a call with the services of one process, without a server and without its workers."""

    async def run() -> T:
        limits = patient(own)
        services = build_services(settings, limits)
        await services.database.open()
        try:
            return await call(services, Opener(services.database, limits))
        finally:
            await services.database.close()

    return asyncio.run(run())
