"""The marts of the lake, built by dbt with DuckDB, equal those of Postgres on the same decisions, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse.dbt_project import LAKE_BUILD, Dbt
from tests.integration.decided_cards import DecidedCards, archive, decide
from tests.lab.lake_files import write_lake

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.marts]

EVENTS = 3_000
MARTS = (
    "fct_transactions", "fct_daily_fraud_summary", "fct_hourly_volume", "fct_reason_hits", "dim_date", "dim_merchants",
    "mart_customer_risk", "mart_merchant_risk",
)  # fmt: skip
BOTH = "tag:lake", "currency_units", "reason_codes"


def test_each_mart_row_equals_that_of_postgres(built: tuple[Settings, Dbt]) -> None:
    settings, dbt = built
    for mart in MARTS:
        ours, theirs = _lake(dbt, mart), _warehouse(settings, mart)
        assert len(ours) == len(theirs) > 0, mart
        assert ours == theirs, mart


def test_a_later_load_changes_only_its_days_and_a_second_decision_replaces_the_first(
    built: tuple[Settings, Dbt], cards: DecidedCards
) -> None:
    settings, dbt = built
    first = cards.decisions[0]
    again = {**first, "processing_time_ms": first["processing_time_ms"] + 3_600_000, "reasons": [], "score": 0.0}
    later = DecidedCards(decisions=[again, {**first, "transaction_id": "late", "event_time_ms": 1_600_000_000_000}])
    archive(settings.postgres_dsn_as("writer"), later)
    assert settings.lake_path is not None
    write_lake(later.decisions, Path(settings.lake_path), "2026-01-02 00:00:00")
    dbt.run("build", "--select", *BOTH, "--exclude-resource-type", "unit_test", "test")
    dbt.run(*LAKE_BUILD)
    for mart in MARTS:
        assert _lake(dbt, mart) == _warehouse(settings, mart), mart


@pytest.fixture(scope="module")
def cards() -> DecidedCards:
    return decide(EVENTS)


@pytest.fixture(scope="module")
def built(cards: DecidedCards, database: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield settings and dbt after one build of both targets on the same decisions."""
    folder = tmp_path_factory.mktemp("lake")
    settings = database.settings().model_copy(update={"lake_path": str(folder / "lake")})
    archive(settings.postgres_dsn_as("writer"), DecidedCards(decisions=cards.decisions))
    write_lake(cards.decisions, folder / "lake")
    dbt = Dbt(settings, folder / "dbt", lambda _: None)
    dbt.run("build", "--select", *BOTH, "--exclude-resource-type", "unit_test", "test")
    dbt.run(*LAKE_BUILD)
    yield settings, dbt
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("TRUNCATE raw.decisions")
        connection.execute("DROP SCHEMA gold CASCADE")


def _warehouse(settings: Settings, mart: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.postgres_dsn) as connection:
        cursor = connection.execute(f"SELECT * FROM gold.{mart}".encode())  # noqa: S608 - our own names
        return _comparable([item.name for item in cursor.description or ()], cursor.fetchall())


def _lake(dbt: Dbt, mart: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(dbt.lake_database), read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.execute(f"SELECT * FROM gold.{mart}")  # noqa: S608 - our own names
        return _comparable([item[0] for item in cursor.description or ()], cursor.fetchall())


def _comparable(names: list[str], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in an order of their own, without the load time, with means to 12 digits."""
    kept = sorted(name for name in names if name != "loaded_at")

    def cell(name: str, value: object) -> object:
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, float | Decimal):
            return f"{value:.12g}" if name.startswith("mean") or name.endswith("ratio") else float(value)
        return value

    found = [tuple(cell(name, row[names.index(name)]) for name in kept) for row in rows]
    return sorted(found, key=str)
