"""The marts of the lake, built by dbt with DuckDB, equal those of Postgres on the same decisions, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import psycopg
import pytest

from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse.dbt_project import LAKE_BUILD, Dbt
from flink_jobs.warehouse.lake_compaction import compact
from flink_jobs.warehouse.lake_files import open_lake
from tests.integration.decided_cards import DecidedCards, archive, decide
from tests.lab.lake_files import write_lake

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.marts]

EVENTS = 3_000
MARTS = (
    "fct_transactions", "fct_daily_fraud_summary", "fct_hourly_volume", "fct_reason_hits", "dim_date", "dim_merchants",
    "mart_customer_risk", "mart_merchant_risk",
)  # fmt: skip
LATER = ("terminal", "device", "card", "ip")
"""Columns that files of an earlier release do not have."""
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
    late = {**first, "transaction_id": "late", "event_time_ms": 1_600_000_000_000, **dict.fromkeys(LATER, "known")}
    later = DecidedCards(decisions=[again, late])
    archive(settings.postgres_dsn_as("writer"), later)
    _load(settings, later.decisions, "2026-01-03 00:00:00")
    with open_lake(settings) as lake:
        done = compact(lake, now_ms=0, largest_bytes=1 << 30, grace_ms=1)
        assert (done.merged, done.written, done.rows) == (2, 1, EVENTS)
        assert len(lake.sizes("decisions")) == 4, "dbt must leave out the files that the merged file replaces"
    dbt.run("build", "--select", *BOTH, "--exclude-resource-type", "unit_test", "test")
    dbt.run(*LAKE_BUILD)
    for mart in MARTS:
        assert _lake(dbt, mart) == _warehouse(settings, mart), mart


@pytest.fixture(scope="module")
def cards() -> DecidedCards:
    return decide(EVENTS)


@pytest.fixture(scope="module")
def built(cards: DecidedCards, database: Stack, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield settings and dbt after one build of both targets on the same decisions; the lake is in S3."""
    folder = tmp_path_factory.mktemp("lake")
    settings = database.settings().model_copy(update={"lake_path": f"s3://{bucket}/lake-marts"})
    archive(settings.postgres_dsn_as("writer"), DecidedCards(decisions=cards.decisions))
    half = len(cards.decisions) // 2
    _load(settings, cards.decisions[:half], without=LATER)
    _load(settings, cards.decisions[half:], without=LATER)
    dbt = Dbt(settings, folder / "dbt", lambda _: None)
    dbt.run("build", "--select", *BOTH, "--exclude-resource-type", "unit_test", "test")
    dbt.run(*LAKE_BUILD)
    yield settings, dbt
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("TRUNCATE raw.decisions")
        connection.execute("DROP SCHEMA gold CASCADE")


def _load(
    settings: Settings,
    decisions: list[dict[str, Any]],
    loaded_at: str = "2026-01-01 00:00:00",
    without: tuple[str, ...] = (),
) -> None:
    """Write the file of one checkpoint."""
    with TemporaryDirectory() as folder, open_lake(settings) as lake:
        write_lake(decisions, Path(folder), loaded_at, without)
        (file,) = Path(folder).rglob("part-*")
        day = file.parent.relative_to(folder).as_posix()
        lake.add(f"{day}/part-{len(lake.sizes('decisions'))}", file)


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
