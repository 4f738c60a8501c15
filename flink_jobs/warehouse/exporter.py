"""Warehouse metrics for Prometheus, read from the database at each scrape, so that they are never stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import psycopg
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from flink_jobs.metrics import warehouse_metrics
from flink_jobs.metrics.catalogue import Metric, MetricKind

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

CONNECT_LIMIT_S: Final = 5
QUERY_LIMIT_MS: Final = 5_000
"""Shorter than Prometheus' usual scrape timeout of 10 s."""

# Row counts are the estimates that Postgres maintains: counting a year of decisions at each scrape would be the most
# expensive query. Postgres has no estimate for a partitioned table, so the query adds up its partitions.
_TABLES: Final = """
    SELECT schema.nspname || '.' || shown.relname, sum(greatest(pg_stat_get_live_tuples(own.oid), own.reltuples, 0))
    FROM pg_class AS own
    LEFT JOIN pg_inherits ON inhrelid = own.oid
    JOIN pg_class AS shown ON shown.oid = coalesce(inhparent, own.oid)
    JOIN pg_namespace AS schema ON schema.oid = shown.relnamespace
    WHERE own.relkind = 'r' AND schema.nspname IN ('raw', 'gold')
    GROUP BY 1"""
_LATEST_CHECKS: Final = """
    SELECT DISTINCT ON (check_name) check_name, severity, violations, extract(epoch FROM checked_at)
    FROM ops.quality_results ORDER BY check_name, checked_day DESC"""
# Without the role pg_read_all_stats, Postgres shows sessions of other roles as empty: two metrics are then missing.
_SINGLE: Final[Mapping[Metric, str]] = {
    warehouse_metrics.DBT_NODES: """
        SELECT status, count(*) FROM (
            SELECT DISTINCT ON (node) node, status FROM ops.dbt_results ORDER BY node, finished_at DESC
        ) AS latest GROUP BY 1""",
    warehouse_metrics.DBT_FINISHED: "SELECT extract(epoch FROM max(finished_at)) FROM ops.dbt_results",
    warehouse_metrics.INCIDENTS: "SELECT kind, count(*) FROM ops.incidents GROUP BY 1",
    warehouse_metrics.BACKUP_VERIFIED: """
        SELECT extract(epoch FROM max(taken_at)) FROM ops.backups WHERE verified_at IS NOT NULL""",
    warehouse_metrics.KAFKA_WAITING: "SELECT topic, sum(waiting) FROM ops.kafka_positions GROUP BY 1",
    warehouse_metrics.KAFKA_MISSING: """
        SELECT topic, sum(missing) FROM ops.kafka_positions WHERE missing IS NOT NULL GROUP BY 1""",
    warehouse_metrics.KAFKA_OBSERVED: """
        SELECT topic, extract(epoch FROM max(observed_at)) FROM ops.kafka_positions GROUP BY 1""",
    warehouse_metrics.DATABASE_CONNECTIONS: "SELECT sum(numbackends) FROM pg_stat_database",
    warehouse_metrics.DATABASE_CONNECTION_LIMIT: "SELECT current_setting('max_connections')",
    warehouse_metrics.DATABASE_BYTES: "SELECT pg_database_size(current_database())",
    warehouse_metrics.DATABASE_LOCK_WAIT: """
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0) FROM pg_locks WHERE NOT granted""",
    warehouse_metrics.DATABASE_QUERY_TIME: """
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0) FROM pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend' AND application_name NOT IN ('pg_dump', 'pg_restore')
        HAVING pg_has_role('pg_read_all_stats', 'USAGE')""",
    warehouse_metrics.DATABASE_WAL_KEPT: """
        SELECT coalesce(max(pg_wal_lsn_diff(
            CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
        )), 0) FROM pg_replication_slots""",
    warehouse_metrics.DATABASE_REPLICA_LAG: """
        SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) FROM pg_stat_replication
        HAVING pg_has_role('pg_read_all_stats', 'USAGE')""",
}
"""One query for each metric; it returns label and value, or only the value."""
_WITH_LOADED_AT: Final = """
    SELECT table_schema || '.' || table_name FROM information_schema.columns
    WHERE column_name = 'loaded_at' AND table_schema IN ('raw', 'gold') AND table_name <> 'latest_labels' ORDER BY 1"""


class WarehouseCollector(Collector):
    """The metrics of ``warehouse_metrics.WAREHOUSE_METRICS``."""

    def __init__(self, dsn: str) -> None:
        """Set the database.

        Args:
            dsn: connection string of the transformer, which reads raw and ops and owns gold.
        """
        self._dsn = dsn

    def describe(self) -> list[Family]:
        """Return nothing: the metrics depend on the database, which may not answer yet."""
        return []

    def collect(self) -> Iterator[Family]:
        """Read all metrics now; if the database does not answer, yield only that the warehouse is down."""
        try:
            families = self._read()
        except psycopg.Error:
            families = [_family(warehouse_metrics.WAREHOUSE_UP, [(0.0,)])]
        yield from families

    def _read(self) -> list[Family]:
        options = f"-c statement_timeout={QUERY_LIMIT_MS} -c timezone=UTC"
        with psycopg.connect(self._dsn, connect_timeout=CONNECT_LIMIT_S, options=options) as connection:

            def rows(text: str) -> list[tuple[Any, ...]]:
                return connection.execute(text.encode()).fetchall()

            checks = rows(_LATEST_CHECKS)
            loaded = [
                (table, *rows(f"SELECT extract(epoch FROM max(loaded_at)) FROM {table}")[0])  # noqa: S608 - from the catalogue
                for (table,) in rows(_WITH_LOADED_AT)
            ]
            return [
                _family(warehouse_metrics.WAREHOUSE_UP, [(1.0,)]),
                _family(warehouse_metrics.TABLE_ROWS, rows(_TABLES)),
                _family(warehouse_metrics.TABLE_LOADED, loaded),
                _family(warehouse_metrics.QUALITY_ERRORS, [(c[0], c[2]) for c in checks if c[1] == "error"]),
                _family(warehouse_metrics.QUALITY_WARNINGS, [(c[0], c[2]) for c in checks if c[1] == "warn"]),
                _family(warehouse_metrics.QUALITY_CHECKED, [(c[0], c[3]) for c in checks]),
                *(_family(metric, rows(text)) for metric, text in _SINGLE.items()),
            ]


def registry(dsn: str) -> CollectorRegistry:
    """Return a registry that has only the metrics of the warehouse."""
    found = CollectorRegistry(auto_describe=False)
    found.register(WarehouseCollector(dsn))
    return found


def _family(metric: Metric, rows: list[tuple[Any, ...]]) -> Family:
    """Return a metric with its samples, without rows whose value is NULL (unknown)."""
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    labels = [metric.label] if metric.label else []
    family: Family = kind(warehouse_metrics.WAREHOUSE_PREFIX + metric.name, metric.meaning, labels=labels)
    for *label, value in rows:
        if value is not None:
            family.add_metric(label, float(value))  # type: ignore[attr-defined]  # both kinds have it
    return family
