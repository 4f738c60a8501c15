"""Days to check and the model that a drift check judges, by load times and the clock of a real Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse.closed_days import MOST_DAYS, days_to_check, trust_days
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from flink_jobs.warehouse.queries import last_closed_day
from flink_jobs.warehouse.run_log import check_days
from ml.history.connection import warehouse
from ml.history.serving import latest_decision
from tests.integration.decided_cards import LATER_COLUMNS, DecidedCards, Document, archive, decide

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("whole_day")]


@pytest.fixture(scope="module")
def decision() -> Document:
    return decide(3).decisions[0]


@pytest.fixture
def dsn(fresh_database: Settings) -> str:
    apply_migrations(fresh_database.postgres_dsn, MIGRATIONS)
    return fresh_database.postgres_dsn


def run(dsn: str, text: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def now(dsn: str) -> datetime:
    moment: datetime = run(dsn, "SELECT now()")[0][0]
    return moment.astimezone(UTC)


def load(dsn: str, decision: Document, *moments: datetime) -> None:
    """Archive one decision at each event time."""
    rows = [
        {**decision, "transaction_id": f"t-{at:%Y%m%d%H%M%S%f}", "event_time_ms": int(at.timestamp() * 1000)}
        for at in moments
    ]
    archive(dsn, DecidedCards(decisions=rows))


def load_earlier(dsn: str, hours: int) -> None:
    """Let the rows and the known days look as if they had been loaded so many hours earlier."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")  # without the trigger that sets loaded_at
        connection.execute("UPDATE raw.decisions SET loaded_at = loaded_at - make_interval(hours => %s)", (hours,))


def days(dsn: str) -> list[str]:
    return list(days_to_check(dsn))


def test_a_fast_clock_closes_no_day(dsn: str, decision: Document) -> None:
    today = now(dsn)
    yesterday = today - timedelta(days=1)
    load(dsn, decision, today - timedelta(days=2), yesterday, today, today + timedelta(days=30))
    load_earlier(dsn, 2)
    due = days(dsn)
    assert f"{today:%Y-%m-%d}" not in due
    assert due[0] == f"{today - timedelta(days=2):%Y-%m-%d}"
    if today.hour:  # in the first hour, yesterday is still open
        assert due == [f"{today - timedelta(days=2):%Y-%m-%d}", f"{yesterday:%Y-%m-%d}"]


def test_every_missed_day_is_due_once_and_again_after_a_late_row(dsn: str, decision: Document) -> None:
    first = datetime(2024, 1, 1, 12, tzinfo=UTC)
    load(dsn, decision, *(first + timedelta(days=number) for number in range(5)))
    assert days(dsn) == [f"2024-01-0{number}" for number in range(1, 5)], "the fifth day is still being loaded"
    load_earlier(dsn, 2)
    run(dsn, "TRUNCATE ops.quality_days")
    due = days_to_check(dsn)
    assert list(due) == [f"2024-01-0{number}" for number in range(1, 6)]
    trust_days(dsn, {day: due[day] for day in ("2024-01-01", "2024-01-02", "2024-01-03")})
    assert days(dsn) == ["2024-01-04", "2024-01-05"]
    trust_days(dsn, due)
    assert days(dsn) == ["2024-01-05"], "without a due day, the last closed day is checked again"

    before = days_to_check(dsn, "2024-01-02")
    load(dsn, decision, first + timedelta(days=1, minutes=1))
    assert days(dsn) == ["2024-01-02"]
    trust_days(dsn, before)
    assert days(dsn) == ["2024-01-02"], "the checks ran before the late row was loaded"
    trust_days(dsn, days_to_check(dsn))
    assert days(dsn) == ["2024-01-05"]
    with pytest.raises(ValueError, match="no decision of 1999-01-01"):
        days_to_check(dsn, "1999-01-01")


def test_a_run_checks_a_month_and_the_next_run_the_following_days(dsn: str, decision: Document) -> None:
    with pytest.raises(ValueError, match=r"raw\.decisions is empty"):
        days_to_check(dsn)
    first = datetime(2023, 1, 1, 12, tzinfo=UTC)
    load(dsn, decision, *(first + timedelta(days=number) for number in range(MOST_DAYS + 3)))
    due = days_to_check(dsn)
    assert len(due) == MOST_DAYS
    trust_days(dsn, due)
    assert days(dsn) == ["2023-02-01", "2023-02-02"]


def test_all_days_are_checked_also_after_one_fails(dsn: str, decision: Document) -> None:
    first = datetime(2024, 1, 1, 12, tzinfo=UTC)
    load(dsn, decision, *(first + timedelta(days=number) for number in range(3)))
    run(dsn, "UPDATE raw.decisions SET amount_minor = -1 WHERE event_time < '2024-01-03Z'")
    every = [(first + timedelta(days=number)).date() for number in range(3)]
    with pytest.raises(UserError, match=r"2024-01-01 fails the check values_out_of_range.*; also 2024-01-02"):
        check_days(dsn, "values_out_of_range", every)
    checked = "SELECT checked_day::text, violations FROM ops.quality_results WHERE check_name = %s ORDER BY 1"
    assert run(dsn, checked, "values_out_of_range") == [("2024-01-01", 1), ("2024-01-02", 1), ("2024-01-03", 0)]
    check_days(dsn, "freshness", every)
    assert run(dsn, checked, "freshness") == [("2024-01-03", 0)], "a check without a day runs once"


def test_the_day_of_the_analysts_page_ignores_a_fast_clock(dsn: str) -> None:
    run(dsn, "CREATE TABLE gold.fct_daily_fraud_summary (occurred_on date, currency text, loaded_at timestamptz)")
    today = now(dsn)
    rows = [(today.date() + timedelta(days=number), today - timedelta(hours=3)) for number in (-3, -2, 0, 30)]
    with psycopg.connect(dsn) as connection:
        assert last_closed_day(connection) is None
        for day, loaded_at in rows:
            connection.execute("INSERT INTO gold.fct_daily_fraud_summary VALUES (%s, 'USD', %s)", (day, loaded_at))
        assert last_closed_day(connection) == today.date() - timedelta(days=2)
        connection.execute("DELETE FROM gold.fct_daily_fraud_summary WHERE occurred_on < %s", (today.date(),))
        assert last_closed_day(connection) == today.date(), "without a closed day, the newest day up to today"


def test_the_serving_model_is_the_one_of_the_newest_load(dsn: str, decision: Document) -> None:
    """A new model scores a history of 2019, and before it a card with a fast clock sent an event of tomorrow."""
    today = now(dsn)
    served = {**decision, "model": "used", "ml_score": 0.5}
    load(dsn, {**served, "model_version": "v1"}, today - timedelta(days=2), today + timedelta(days=1))
    with warehouse(dsn) as connection:
        newest = latest_decision(connection, None, None)
    assert newest == ("v1", int((today - timedelta(days=2)).timestamp() * 1000))
    replayed = datetime(2019, 1, 1, 12, tzinfo=UTC)
    load(dsn, {**served, "model_version": "v2"}, replayed)
    with warehouse(dsn) as connection:
        assert latest_decision(connection, None, None) == ("v2", int(replayed.timestamp() * 1000))
        assert latest_decision(connection, "v1", None) == newest
        until_ms = int(today.timestamp() * 1000)
        assert latest_decision(connection, None, until_ms) == newest, "a window of the past has the model of its time"
        with pytest.raises(UserError, match="no recorded decision of model v3"):
            latest_decision(connection, "v3", None)


def test_an_upgrade_keeps_trusted_days_and_finds_days_that_were_never_checked(
    fresh_database: Settings, decision: Document, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dsn, old = fresh_database.postgres_dsn, tmp_path_factory.mktemp("old")
    files = sorted(MIGRATIONS.glob("*.sql"))
    number = next(index for index, path in enumerate(files) if path.stem.endswith("trusted_days"))
    for path in files[:number]:
        (old / path.name).write_text(path.read_text())
    apply_migrations(dsn, old)
    first = datetime(2024, 1, 1, 12, tzinfo=UTC)
    known = set(run(dsn, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'raw'"))
    missing = [
        (table, name, kind)
        for table in ("decisions", "alerts", "labels")
        for name, kind in LATER_COLUMNS[table].items()
        if (table, name) not in known
    ]
    for table, name, kind in missing:
        run(dsn, f"ALTER TABLE raw.{table} ADD {name} {kind}")
    load(dsn, decision, *(first + timedelta(days=number) for number in range(4)))
    for table, name, _ in missing:
        run(dsn, f"ALTER TABLE raw.{table} DROP {name}")
    for day, violations in (("2024-01-01", 0), ("2024-01-02", 3)):
        run(dsn, "INSERT INTO ops.quality_results VALUES ('values_out_of_range', %s, 'error', %s)", day, violations)
    apply_migrations(dsn, MIGRATIONS)
    assert days(dsn) == ["2024-01-02", "2024-01-03"]
