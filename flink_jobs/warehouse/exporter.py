"""Warehouse metrics for Prometheus, read from the database at each scrape, so that they are never stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import psycopg
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from flink_jobs.metrics import catalogue
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
_SINGLE: Final[Mapping[Metric, str]] = {
    catalogue.DBT_NODES: """
        SELECT status, count(*) FROM (
            SELECT DISTINCT ON (node) node, status FROM ops.dbt_results ORDER BY node, finished_at DESC
        ) AS latest GROUP BY 1""",
    catalogue.DBT_FINISHED: "SELECT extract(epoch FROM max(finished_at)) FROM ops.dbt_results",
    catalogue.INCIDENTS: "SELECT kind, count(*) FROM ops.incidents GROUP BY 1",
    catalogue.BACKUP_VERIFIED: """
        SELECT extract(epoch FROM max(taken_at)) FROM ops.backups WHERE verified_at IS NOT NULL""",
    catalogue.KAFKA_WAITING: "SELECT topic, sum(waiting) FROM ops.kafka_positions GROUP BY 1",
    catalogue.KAFKA_MISSING: """
        SELECT topic, sum(missing) FROM ops.kafka_positions WHERE missing IS NOT NULL GROUP BY 1""",
    catalogue.KAFKA_OBSERVED: """
        SELECT topic, extract(epoch FROM max(observed_at)) FROM ops.kafka_positions GROUP BY 1""",
}
"""One query for each metric; it returns label and value, or only the value."""
_WITH_LOADED_AT: Final = """
    SELECT table_schema || '.' || table_name FROM information_schema.columns
    WHERE column_name = 'loaded_at' AND table_schema IN ('raw', 'gold') AND table_name <> 'latest_labels' ORDER BY 1"""


class WarehouseCollector(Collector):
    """The metrics of ``catalogue.WAREHOUSE_METRICS``."""

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
            families = [_family(catalogue.WAREHOUSE_UP, [(0.0,)])]
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
                _family(catalogue.WAREHOUSE_UP, [(1.0,)]),
                _family(catalogue.TABLE_ROWS, rows(_TABLES)),
                _family(catalogue.TABLE_LOADED, loaded),
                _family(catalogue.QUALITY_ERRORS, [(c[0], c[2]) for c in checks if c[1] == "error"]),
                _family(catalogue.QUALITY_WARNINGS, [(c[0], c[2]) for c in checks if c[1] == "warn"]),
                _family(catalogue.QUALITY_CHECKED, [(c[0], c[3]) for c in checks]),
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
    family: Family = kind(catalogue.WAREHOUSE_PREFIX + metric.name, metric.meaning, labels=labels)
    for *label, value in rows:
        if value is not None:
            family.add_metric(label, float(value))  # type: ignore[attr-defined]  # both kinds have it
    return family
