"""The catalogue's part for the warehouse: metrics of ``streamflow marts-exporter`` and of its Postgres server."""

from typing import Final

from flink_jobs.metrics.catalogue import Metric, MetricKind


def _gauge(name: str, unit: str, meaning: str, label: str | None = None) -> Metric:
    return Metric(name, MetricKind.GAUGE, unit, meaning, label=label)


WAREHOUSE_PREFIX: Final = "streamflow_warehouse_"
WAREHOUSE_UP: Final = _gauge(
    "up", "0 or 1", "1 if the database answered this scrape; if 0, no other warehouse metric is reported"
)
TABLE_ROWS: Final = _gauge(
    "table_rows", "rows", "rows of a table in raw or gold, as estimated by the database", "table"
)
TABLE_LOADED: Final = _gauge("table_loaded_time_seconds", "seconds", "load time of the newest row, Unix time", "table")
QUALITY_ERRORS: Final = _gauge(
    "quality_errors", "rows", "violations of a check that keeps a day out of gold, on the last day checked", "check"
)
QUALITY_WARNINGS: Final = _gauge(
    "quality_warnings", "rows", "violations of a check that only warns, on the last day checked", "check"
)
QUALITY_CHECKED: Final = _gauge("quality_checked_time_seconds", "seconds", "last run of a check, Unix time", "check")
DBT_NODES: Final = _gauge(
    "dbt_nodes", "nodes", "dbt models, seeds, snapshots and tests by the status of their last run", "status"
)
DBT_FINISHED: Final = _gauge("dbt_finished_time_seconds", "seconds", "end of the last dbt run, Unix time")
INCIDENTS: Final = Metric(
    "incidents", MetricKind.COUNTER, "incidents",
    "Airflow incidents: failed tasks, failed attempts and missed deadlines", label="kind",
)  # fmt: skip
BACKUP_VERIFIED: Final = _gauge(
    "backup_time_seconds", "seconds", "time of the newest backup that was verified by a restore, Unix time"
)
KAFKA_WAITING: Final = _gauge(
    "kafka_waiting_records", "records", "consumer lag: committed records that the consuming job has not read", "topic"
)
KAFKA_MISSING: Final = _gauge(
    "kafka_missing_records", "records", "records that the detector has read and that have no row in raw", "topic"
)
KAFKA_OBSERVED: Final = _gauge(
    "kafka_observed_time_seconds", "seconds", "last comparison of Kafka with raw, Unix time", "topic"
)

DATABASE_CONNECTIONS: Final = _gauge("connections", "connections", "open connections to all databases of the server")
DATABASE_CONNECTION_LIMIT: Final = _gauge("connection_limit", "connections", "max_connections of the server")
DATABASE_BYTES: Final = _gauge("database_bytes", "bytes", "size of the database on disk")
DATABASE_LOCK_WAIT: Final = _gauge("lock_wait_seconds", "seconds", "longest time that a query has waited for a lock")
DATABASE_QUERY_TIME: Final = _gauge(
    "longest_query_seconds", "seconds", "age of the longest running query, without backups and replication"
)
DATABASE_WAL_KEPT: Final = _gauge(
    "replication_kept_bytes", "bytes", "log that the furthest behind replication slot keeps on disk; 0 without slots"
)
DATABASE_REPLICA_LAG: Final = _gauge(
    "replication_lag_seconds", "seconds", "time until the slowest replica applies a change; 0 without replicas"
)

WAREHOUSE_METRICS: Final = (
    WAREHOUSE_UP, TABLE_ROWS, TABLE_LOADED, QUALITY_ERRORS, QUALITY_WARNINGS, QUALITY_CHECKED, DBT_NODES, DBT_FINISHED,
    INCIDENTS, BACKUP_VERIFIED, KAFKA_WAITING, KAFKA_MISSING, KAFKA_OBSERVED, DATABASE_CONNECTIONS,
    DATABASE_CONNECTION_LIMIT, DATABASE_BYTES, DATABASE_LOCK_WAIT, DATABASE_QUERY_TIME, DATABASE_WAL_KEPT,
    DATABASE_REPLICA_LAG,
)  # fmt: skip
"""Metrics of ``streamflow marts-exporter``. A value that is not recorded yet is not reported."""
