"""The warehouse metrics that Prometheus scrapes from the running command."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from contextlib import closing
from datetime import UTC, date, datetime

import psycopg
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flink_jobs.local.ports import free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.metrics.catalogue import MetricKind
from flink_jobs.metrics.warehouse_metrics import WAREHOUSE_METRICS, WAREHOUSE_PREFIX
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.exporter import registry
from flink_jobs.warehouse.run_log import Incident, check_day, record_dbt_results, record_incident
from tests.integration.decided_cards import DecidedCards, archive, decide

pytestmark = pytest.mark.stack
PREFIX = WAREHOUSE_PREFIX
Samples = dict[tuple[str, str | None], float]


def samples(text: str) -> Samples:
    """Return the samples by metric name and the value of the one label."""
    families = list(text_string_to_metric_families(text))
    assert {family.name for family in families} <= {PREFIX + metric.name for metric in WAREHOUSE_METRICS}
    return {
        (sample.name.removeprefix(PREFIX), next(iter(sample.labels.values()), None)): sample.value
        for family in families
        for sample in family.samples
    }


def forget_other_tests(dsn: str) -> None:
    """Delete the rows that other tests left in the tables that this module counts."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.incidents, ops.backups, ops.kafka_positions")


def test_every_metric_is_scraped_and_equals_the_tables(database: Stack) -> None:
    settings = database.settings()
    dsn = settings.postgres_dsn_as("transformer")
    cards = decide(300)
    archive(settings.postgres_dsn_as("writer"), cards)
    bad = {**cards.decisions[0], "transaction_id": "too-much", "score": 7.5, "is_alert": True}
    archive(settings.postgres_dsn_as("writer"), DecidedCards(decisions=[bad]))
    day = datetime.fromtimestamp(bad["event_time_ms"] / 1000, UTC).date()
    with pytest.raises(Exception, match="fails the check"):
        check_day(dsn, "values_out_of_range", day)
    check_day(dsn, "freshness", day)
    check_day(dsn, "freshness", date(2023, 1, 1))
    for run, status in (("a", "error"), ("b", "success")):  # the last result counts
        record_dbt_results(dsn, run, [{"unique_id": "model.one", "status": status, "execution_time": 1.0}])
    forget_other_tests(settings.postgres_dsn)
    record_incident(dsn, Incident("task_failed", "some_dag", "it broke"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ops.backups VALUES ('one', to_timestamp(1000), 1, 1, 1, now()),"
            " ('two', to_timestamp(2000), 1, 1, 1, NULL)"
        )
        connection.execute(
            "INSERT INTO ops.kafka_positions VALUES"
            " ('t.transactions', 0, 0, 9, 8, 1, 2), ('t.transactions', 1, 0, 9, 9, 0, 1),"
            " ('t.alerts', 0, 0, 5, 5, 4, NULL)"
        )
        connection.execute("CREATE TABLE gold.fct_shown AS SELECT now() AS loaded_at FROM generate_series(1, 7)")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "flink_jobs.cli", "marts-exporter", "--port", str(port)]
    environment = {**os.environ, "STREAMFLOW_HOME": str(database.home.root)}

    def scraped() -> Samples | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                found = samples(answer.read().decode())
        except OSError:
            return None
        # Postgres updates its statistics with a short delay.
        return found if found.get(("table_rows", "gold.fct_shown")) == 7 else None

    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=REPO_ROOT) as exporter:
        try:
            found = wait_for(scraped, limit_s=240, what="the exporter's metrics")
        finally:
            exporter.terminate()
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("DROP TABLE gold.fct_shown")
    counter = {metric.name for metric in WAREHOUSE_METRICS if metric.kind is MetricKind.COUNTER}
    shown = {name.removesuffix("_total") if name.removesuffix("_total") in counter else name for name, _ in found}
    assert shown == {metric.name for metric in WAREHOUSE_METRICS}
    rows = {label: value for (name, label), value in found.items() if name == "table_rows"}
    assert rows["raw.decisions"] >= len(cards.decisions)
    assert "partitions.decisions_default" not in rows
    now = datetime.now(UTC).timestamp()
    assert now - 600 < found["table_loaded_time_seconds", "raw.decisions"] <= now + 1
    assert found["quality_errors", "values_out_of_range"] == 1
    assert ("quality_warnings", "freshness") in found
    assert found["dbt_nodes", "success"] == 1
    assert ("dbt_nodes", "error") not in found
    assert found["incidents_total", "task_failed"] == 1
    assert found["backup_time_seconds", None] == 1000
    assert (found["kafka_waiting_records", "t.transactions"], found["kafka_missing_records", "t.transactions"]) == (
        1,
        3,
    )
    assert (found["kafka_waiting_records", "t.alerts"], ("kafka_missing_records", "t.alerts") in found) == (4, False)


def test_an_unreachable_database_is_reported_and_other_metrics_are_absent() -> None:
    (port,) = free_ports(1)
    text = generate_latest(registry(f"host=127.0.0.1 port={port} dbname=none user=none")).decode()
    assert samples(text) == {("up", None): 0.0}


def measured(dsn: str) -> Samples:
    return samples(generate_latest(registry(dsn)).decode())


def test_a_query_of_another_role_and_a_wait_for_a_lock_are_measured(database: Stack) -> None:
    settings = database.settings()
    dsn, other = settings.postgres_dsn_as("transformer"), settings.postgres_dsn_as("writer")

    def both() -> Samples | None:
        found = measured(dsn)
        times = [found.get((name, None), 0.0) for name in ("longest_query_seconds", "lock_wait_seconds")]
        return found if min(times) > 0.5 else None  # without both if the server did not answer in time

    # The connections are closed without a commit, which a running query would refuse.
    with closing(psycopg.connect(other)) as waiting, closing(psycopg.connect(other)) as holder:
        holder.execute("SELECT pg_advisory_lock(19)")
        waiting.pgconn.send_query(b"SELECT pg_advisory_lock(19)")
        found = wait_for(both, limit_s=240, what="a query and a lock of more than half a second")
        assert 2 <= found["connections", None] < found["connection_limit", None]
        assert (found["replication_kept_bytes", None], found["replication_lag_seconds", None]) == (0, 0)
        assert found["database_bytes", None] > 1_000_000


def test_without_the_right_to_see_other_roles_their_metrics_are_missing(database: Stack) -> None:
    settings = database.settings()
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as owner:
        owner.execute("REVOKE pg_read_all_stats FROM streamflow_transformer")
        try:
            found = measured(settings.postgres_dsn_as("transformer"))
        finally:
            owner.execute("GRANT pg_read_all_stats TO streamflow_transformer")
    assert ("up", None) in found
    assert not {("longest_query_seconds", None), ("replication_lag_seconds", None)} & found.keys()
