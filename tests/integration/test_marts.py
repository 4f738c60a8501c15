"""The gold marts built by dbt, compared with the same figures counted in Python; also a bad, late or repeated day."""

from __future__ import annotations

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse.analyst_page import find, page
from flink_jobs.warehouse.dbt_project import DBT, NAMESPACE, Dbt
from flink_jobs.warehouse.paths import ANALYSES, QUALITY_CHECKS
from flink_jobs.warehouse.queries import ask, read_sql_files
from tests.integration.counted_marts import compare_marts, gold, moment
from tests.integration.decided_cards import DecidedCards, archive, decide
from tests.integration.lineage import read_events, sources_of
from tests.stack_folder import guarded

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.marts]

EVENTS = 4_000
BUILD = ("build", "--exclude-resource-type", "unit_test", "test")
"""Skips the data tests, which the first build ran."""
EVERY_ROW = """
    SELECT table_name, query_to_xml(format('SELECT md5(string_agg(t::text, '','' ORDER BY t::text)) FROM gold.%I t',
        table_name), false, false, '')::text
    FROM information_schema.tables WHERE table_schema = 'gold'"""


@pytest.fixture(scope="module")
def cards() -> DecidedCards:
    return decide(EVENTS, has_devices=True)


@pytest.fixture(scope="module")
def warehouse(cards: DecidedCards, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Dbt]]:
    """Yield this module's own database with one build of everything, and the dbt runner that built it."""
    assert DBT.exists(), "make setup-marts"
    folder = tmp_path_factory.mktemp("stack")
    for part in (folder, *folder.parents[:2]):  # when this runs as root, Postgres runs under another account
        part.chmod(0o755)
    stack = Stack(folder / "home")
    with guarded(folder):
        try:
            settings = stack.up(["postgres"])
            archive(settings.postgres_dsn_as("writer"), cards)
            dbt = Dbt(settings, folder / "dbt", lambda _: None)
            dbt.run("build")
            yield settings, dbt
        finally:
            stack.down(wipe=True)


def test_everything_was_built_and_tested(warehouse: tuple[Settings, Dbt]) -> None:
    results = warehouse[1].results()
    assert {result["status"] for result in results} <= {"pass", "success", "no-op"}
    kinds = Counter(result["unique_id"].split(".")[0] for result in results)
    assert kinds["model"] >= 20
    assert kinds["unit_test"] >= 15
    assert kinds["test"] >= 50


def test_every_mart_row_equals_the_count_in_python(warehouse: tuple[Settings, Dbt], cards: DecidedCards) -> None:
    assert len(cards.decisions) == EVENTS
    compare_marts(warehouse[0], cards)


def test_rule_precision_comes_from_the_labels(warehouse: tuple[Settings, Dbt], cards: DecidedCards) -> None:
    labels = {(label["customer_id"], label["transaction_id"]): label["label"] == "fraud" for label in cards.labels}
    judged: dict[tuple[date, str], list[bool | None]] = defaultdict(list)
    for decision in cards.decisions:
        for reason in decision["reasons"]:
            label = labels.get((decision["customer_id"], decision["transaction_id"]))
            judged[moment(decision).date(), reason["code"]].append(label)
    found = gold(
        warehouse[0],
        "SELECT occurred_on, reason_code, hit_count, labelled_count, fraud_count FROM gold.fct_rule_performance",
    )
    assert {row[:2]: row[2:] for row in found} == {
        key: (len(hits), sum(hit is not None for hit in hits), sum(hit is True for hit in hits))
        for key, hits in judged.items()
    }
    assert sum(row[4] for row in found) > 0, "no labelled fraud: the test would show nothing"


def test_the_second_build_changes_nothing(warehouse: tuple[Settings, Dbt]) -> None:
    before = dict(gold(warehouse[0], EVERY_ROW))
    assert len(before) >= 9
    warehouse[1].run(*BUILD)
    assert dict(gold(warehouse[0], EVERY_ROW)) == before


def test_lineage_connects_gold_with_raw(warehouse: tuple[Settings, Dbt], tmp_path: Path) -> None:
    dbt = warehouse[1]
    dbt.write_lineage(tmp_path / "lineage.jsonl")
    events = read_events(tmp_path / "lineage.jsonl")
    assert sources_of(events, "gold.fct_daily_fraud_summary") >= {"raw.decisions", "gold.fct_transactions"}
    assert sources_of(events, "gold.fct_rule_performance") >= {"raw.decisions", "raw.labels"}
    assert {event["job"]["namespace"] for event in events} == {NAMESPACE}


def test_the_result_of_each_dbt_node_is_stored(warehouse: tuple[Settings, Dbt]) -> None:
    settings, dbt = warehouse
    for _ in range(2):  # storing it again changes nothing
        dbt.record(settings.postgres_dsn_as("transformer"))
    with psycopg.connect(settings.postgres_dsn) as connection:
        kept: dict[str, str] = dict(connection.execute("SELECT node, status FROM ops.dbt_results").fetchall())
    assert kept == {result["unique_id"]: result["status"] for result in dbt.results()}


def test_the_page_answers_every_question_and_needs_no_network(warehouse: tuple[Settings, Dbt]) -> None:
    findings = find(warehouse[0].postgres_dsn_as("analyst"))
    days = [row[0] for row in gold(warehouse[0], "SELECT date_day FROM gold.dim_date ORDER BY 1 DESC LIMIT 2")]
    assert findings.day == days[1], "yesterday is the day before the newest"
    text = page(findings)
    assert text.count("<svg") == 3
    assert "http" not in text
    assert "<script" not in text
    for query, answer in findings.answers.values():
        assert answer.rows, f"{query.name} has nothing to show"
        assert query.name in text
    with pytest.raises(UserError, match="no transaction on 1999-01-01"):
        find(warehouse[0].postgres_dsn_as("analyst"), date(1999, 1, 1))


def test_a_day_without_transactions_is_a_row_of_the_daily_trend(warehouse: tuple[Settings, Dbt]) -> None:
    trend = read_sql_files(ANALYSES)["daily_trend"]
    with psycopg.connect(warehouse[0].postgres_dsn) as connection, connection.transaction(force_rollback=True):
        days = [row[0] for row in connection.execute("SELECT date_day FROM gold.dim_date ORDER BY 1").fetchall()]
        connection.execute("DELETE FROM gold.fct_daily_fraud_summary WHERE occurred_on = %s", (days[-2],))
        found = {row[0]: row[1:] for row in ask(connection, trend, days[-1]).rows}
    assert list(found) == days[-30:]
    assert found[days[-2]] == (0, 0, None)
    assert found[days[-1]][0] > 0


def test_a_bad_day_stops_before_gold_and_the_next_build_repairs(
    warehouse: tuple[Settings, Dbt], cards: DecidedCards
) -> None:
    settings, dbt = warehouse
    before = dict(gold(settings, EVERY_ROW))
    bad = {**cards.decisions[0], "transaction_id": "bad", "score": 7.5}
    good = {**bad, "score": 0.0}
    archive(settings.postgres_dsn_as("writer"), DecidedCards(decisions=[bad]))
    with pytest.raises(UserError, match="stg_decisions"):
        dbt.run("build", "--exclude-resource-type", "unit_test")
    published = {"fct_transactions", "fct_daily_fraud_summary", "fct_hourly_volume", "mart_customer_risk"}
    after = dict(gold(settings, EVERY_ROW))
    assert {name: after[name] for name in published} == {name: before[name] for name in published}

    archive(settings.postgres_dsn_as("writer"), DecidedCards(decisions=[good]))
    dbt.run(*BUILD)
    assert gold(settings, "SELECT fraud_score FROM gold.fct_transactions WHERE transaction_id = 'bad'") == [(0.0,)]


def test_a_late_transaction_is_merged_into_its_day(warehouse: tuple[Settings, Dbt], cards: DecidedCards) -> None:
    settings, dbt = warehouse
    first_day = min(map(moment, cards.decisions)).date()
    count = f"SELECT transaction_count FROM gold.fct_daily_fraud_summary WHERE occurred_on = '{first_day}'"  # noqa: S608
    before = gold(settings, count)[0][0]
    late = {**cards.decisions[0], "transaction_id": "late", "out_of_order_ms": 10**8}
    assert moment(late).date() == first_day
    archive(settings.postgres_dsn_as("writer"), DecidedCards(decisions=[late]))
    with psycopg.connect(
        settings.postgres_dsn, autocommit=True
    ) as connection:  # all other rows have been processed before
        connection.execute("UPDATE gold.fct_transactions SET loaded_at = loaded_at - interval '1 day'")
        connection.execute("UPDATE gold.fct_daily_fraud_summary SET loaded_at = loaded_at - interval '1 hour'")
    dbt.run("run", "--select", "+fct_daily_fraud_summary")
    assert gold(settings, count)[0][0] == before + 1


def test_a_killed_build_is_repaired_by_the_next(warehouse: tuple[Settings, Dbt]) -> None:
    settings, dbt = warehouse
    before = dict(gold(settings, EVERY_ROW))
    target = dbt.target.parent / "killed"
    killed: list[int] = []

    def kill(_: str) -> None:
        """Kill dbt while it works."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if not killed and str(target).encode() in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    killed.append(int(folder.name))

    with pytest.raises(UserError, match="exit code -9"):
        Dbt(settings, target, kill).run(*BUILD, "--full-refresh")
    assert killed
    dbt.run(*BUILD)
    after = dict(gold(settings, EVERY_ROW))
    assert after["fct_transactions"] == before["fct_transactions"]
    assert after["fct_daily_fraud_summary"] == before["fct_daily_fraud_summary"]


def test_the_checks_of_a_good_day_find_nothing_and_those_of_a_bad_one_do(
    warehouse: tuple[Settings, Dbt], cards: DecidedCards
) -> None:
    settings, day = warehouse[0], moment(cards.decisions[-1]).date() - timedelta(days=1)
    checks = read_sql_files(QUALITY_CHECKS)

    def failing(connection: psycopg.Connection[Any]) -> set[str]:
        return {name for name, check in checks.items() if ask(connection, check, day).rows}

    of_day = f"event_time::date = '{day}'"
    one = f"(SELECT max(transaction_id) FROM raw.decisions WHERE is_alert AND {of_day})"  # noqa: S608
    breaks = {
        "values_out_of_range": f"UPDATE raw.decisions SET amount_minor = -1 WHERE transaction_id = {one}",  # noqa: S608
        "alerts_and_decisions_agree": f"DELETE FROM raw.alerts WHERE transaction_id = {one}",  # noqa: S608
        "offsets_without_outcome": "DELETE FROM raw.dead_letters WHERE source_offset BETWEEN 20 AND 60",
        "duplicate_decisions": f"UPDATE raw.decisions SET transaction_id = 'same', customer_id = 'same'"  # noqa: S608
        f" WHERE {of_day} AND NOT is_alert AND event_time_ms IN"
        f" (SELECT event_time_ms FROM raw.decisions WHERE {of_day} GROUP BY 1 HAVING count(*) = 1)",
        "freshness": "UPDATE raw.decisions SET loaded_at = now() - interval '2 hours', score = score + 1e-9",
        "volume_is_unusual": f"DELETE FROM raw.decisions WHERE {of_day}",  # noqa: S608
        "complete_against_kafka": "UPDATE ops.kafka_positions SET missing = 1",
        "kafka_was_read": "UPDATE ops.kafka_positions SET observed_at = now() - interval '2 days'",
        "alert_share_jumped": f"UPDATE raw.decisions SET is_alert = true, score = threshold WHERE {of_day}",  # noqa: S608
        "card_numbers_in_texts": f"UPDATE raw.decisions SET category = '4111-1111-1111-1111'"  # noqa: S608
        f" WHERE transaction_id = {one}",
    }
    assert breaks.keys() == checks.keys()
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("DELETE FROM raw.decisions WHERE transaction_id IN ('bad', 'late')")
        assert failing(connection) == {"kafka_was_read"}, "no position of Kafka is recorded"
        connection.execute("INSERT INTO ops.kafka_positions VALUES ('t', 0, 0, 1, 1, 0, 0)")
        assert failing(connection) == set()
        connection.commit()
        connection.execute("ALTER TABLE raw.decisions DISABLE TRIGGER note_reload")
        for name, statement in breaks.items():
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
                assert name in failing(connection)
        connection.rollback()
