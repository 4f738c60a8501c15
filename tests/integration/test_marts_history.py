"""The gold marts after retention has deleted raw rows, and after decisions were replaced by changed ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse.dbt_project import Dbt
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.partitions import expire_rows
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.decided_cards import DecidedCards, archive, decide

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.marts]

BUILD = ("build", "--exclude-resource-type", "unit_test")
TABLES = {"decisions": "fct_transactions", "alerts": "fct_fraud_alerts", "dead_letters": "fct_dead_letters"}


def query(dsn: str, text: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def shift(dsn: str, days: int) -> None:
    """Let the rows of raw and gold look as if they had been loaded so many days earlier."""
    tables = [f"raw.{name}" for name in TABLES] + [f"gold.{name}" for name in TABLES.values()]
    tables += ["gold.fct_reason_hits", "gold.fct_daily_fraud_summary", "gold.fct_hourly_volume"]
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")  # without the trigger that sets loaded_at
        for table in tables:
            update = f"UPDATE {table} SET loaded_at = loaded_at - make_interval(days => %s)"  # noqa: S608 - our names
            connection.execute(update.encode(), (days,))


def counts(dsn: str, schema: str, tables: list[str]) -> dict[str, int]:
    return {name: query(dsn, f"SELECT count(*) FROM {schema}.{name}")[0][0] for name in tables}  # noqa: S608


def renamed(cards: DecidedCards, name: str) -> DecidedCards:
    """Return the decisions, alerts and dead letters of other transactions, a day later."""
    later = timedelta(days=1) // timedelta(milliseconds=1)

    def other(row: dict[str, Any], identity: str) -> dict[str, Any]:
        times = {"event_time_ms": row["event_time_ms"] + later} if "event_time_ms" in row else {}
        return {
            **row,
            "transaction_id": f"{name}-{row.get('transaction_id')}",
            identity: f"{name}-{row[identity]}",
            **times,
        }

    decisions = [other(row, "transaction_id") for row in cards.decisions]
    return DecidedCards(decisions, [other(row, "alert_id") for row in cards.alerts], [
        {**row, "dlq_id": f"{name}-{row['dlq_id']}"} for row in cards.dlq])  # fmt: skip


@pytest.fixture(scope="module")
def cards() -> DecidedCards:
    return decide(1500)


def test_gold_keeps_its_rows_and_builds_after_100_and_500_days(
    fresh_database: Settings, cards: DecidedCards, tmp_path: Path
) -> None:
    """Day 100: nothing is deleted. Day 500: retention deletes decisions and dead letters, and gold keeps them."""
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    dbt = Dbt(fresh_database, tmp_path / "dbt", lambda _: None)
    archive(dsn, cards)
    dbt.run("build", "--exclude-resource-type", "unit_test", "test")
    built = counts(dsn, "gold", list(TABLES.values()))
    assert min(built.values()) > 0

    shift(dsn, 100)
    later = renamed(cards, "day-100")
    archive(dsn, DecidedCards([row for row in later.decisions if not row["is_alert"]][:50], [], later.dlq[:2]))
    assert [change for change in expire_rows(dsn) if change.action != "kept"] == []

    shift(dsn, 390)
    archive(dsn, renamed(cards, "day-500"))
    expired = {change.table: change.rows for change in expire_rows(dsn) if change.action == "emptied"}
    assert expired == {"raw.decisions": len(cards.decisions), "raw.dead_letters": len(cards.dlq)}
    dbt.run(*BUILD)
    assert {result["status"] for result in dbt.results()} <= {"pass", "success", "no-op"}
    assert counts(dsn, "gold", ["fct_transactions"]) == {"fct_transactions": 2 * len(cards.decisions) + 50}
    assert counts(dsn, "gold", ["fct_dead_letters"]) == {"fct_dead_letters": 2 * len(cards.dlq) + 2}

    with pytest.raises(UserError, match=f"--full-refresh would erase {len(cards.decisions)} rows of gold"):
        dbt.run("run", "--full-refresh", "--select", "fct_transactions")
    assert counts(dsn, "gold", ["fct_transactions"]) == {"fct_transactions": 2 * len(cards.decisions) + 50}

    redriven_letters_miss_no_decision(dsn, dbt)
    changed_decisions_leave_nothing_stale(dsn, dbt, renamed(cards, "day-500"))

    a_fact_joins_one_profile_by_its_load_time(dsn)

    dbt.run("run", "--full-refresh", "--vars", "{erase_gold_history: true}", "--select", "fct_transactions")
    assert counts(dsn, "gold", ["fct_transactions"]) == {"fct_transactions": len(cards.decisions) + 50}


def redriven_letters_miss_no_decision(dsn: str, dbt: Dbt) -> None:
    """A redrive comes long after its dead letter was built."""
    missing = "SELECT dead_letter_id FROM gold.fct_dead_letters WHERE is_decision_missing ORDER BY 1"
    before = query(dsn, missing)
    one = query(dsn, "SELECT dlq_id FROM raw.dead_letters WHERE disposition = 'rejected' ORDER BY loaded_at LIMIT 1")
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO ops.redrive_runs VALUES ('r', 'tests', 'a test', '{}', '[]')")
        connection.execute(
            """
            INSERT INTO ops.redrives (run_id, dlq_id, letter_reason, source_topic, source_partition, source_offset,
                replay, is_forced, payload_sha256, outcome, sent_partition, sent_offset, ended_at)
            SELECT 'r', dlq_id, reason, source_topic, source_partition, source_offset, 1, false, '', 'sent', 0, 9, now()
            FROM raw.dead_letters WHERE dlq_id = %s""",
            one[0],
        )
    dbt.run("run", "--select", "fct_dead_letters")
    gone = set(before) - set(query(dsn, missing))
    assert one[0] in gone
    ours = "SELECT source_topic, source_partition, source_offset FROM raw.dead_letters WHERE dlq_id = ANY(%s)"
    assert len(set(query(dsn, ours, [row[0] for row in gone]))) == 1, "only dead letters of that record"


def changed_decisions_leave_nothing_stale(dsn: str, dbt: Dbt, cards: DecidedCards) -> None:
    """Replace three decisions: without a reason, with another reason, and the only one of its day in its currency."""
    with_reasons = [row for row in cards.decisions if row["reasons"] and not row["is_alert"]]
    without, other, lone = with_reasons[0], with_reasons[1], with_reasons[2]
    lone = {**lone, "currency": "GBP"}
    archive(dsn, DecidedCards([lone]))
    dbt.run("run", "--select", "int_transactions+1", "fct_daily_fraud_summary")
    assert query(dsn, "SELECT transaction_count FROM gold.fct_daily_fraud_summary WHERE currency = 'GBP'") == [(1,)]

    code = "UNUSUAL_TIME" if other["reasons"][0]["code"] != "UNUSUAL_TIME" else "HIGH_AMOUNT"
    archive(dsn, DecidedCards([
        {**without, "reasons": []}, {**other, "reasons": [{**other["reasons"][0], "code": code}]},
        {**lone, "currency": "USD"},
    ]))  # fmt: skip
    dbt.run("run", "--select", "int_transactions+1", "fct_daily_fraud_summary")
    hits = "SELECT reason_code FROM gold.fct_reason_hits WHERE transaction_id = %s"
    assert query(dsn, hits, without["transaction_id"]) == []
    assert query(dsn, hits, other["transaction_id"]) == [(code,)]
    assert query(dsn, "SELECT FROM gold.fct_daily_fraud_summary WHERE currency = 'GBP'") == []
    dbt.run("test", "--select", "fct_daily_fraud_summary", "fct_reason_hits", "fct_transactions")


def a_fact_joins_one_profile_by_its_load_time(dsn: str) -> None:
    joined = """
        SELECT count(*) FROM gold.fct_transactions AS facts JOIN gold.dim_customers AS customers
            ON facts.customer_id = customers.customer_id
            AND facts.loaded_at >= customers.valid_from AND facts.loaded_at < customers.valid_to"""
    assert query(dsn, joined) == query(dsn, "SELECT count(*) FROM gold.fct_transactions")
    assert query(dsn, "SELECT max(version) > 1 FROM gold.dim_customers") == [(True,)], "no profile has changed"
