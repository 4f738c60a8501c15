"""Maintain the raw tables every hour.

The DAG creates the partitions of the coming days, deletes rows that were loaded longer ago than `ops.partition_policy`
keeps them (each deletion is recorded in `ops.retention_log`), and records the age of the newest decision in
`ops.quality_results`. An old newest decision is a warning and fails no task. Then `data_quality` checks the
closed days.

**If it fails**: another session held a table for longer than the retries. The next run is usually enough; otherwise end
the long query.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from flink_jobs.warehouse.orchestration import RAW_SEEN, dag_head


@dag(schedule="7 * * * *", **dag_head(__doc__, tags=["warehouse", "raw"], minutes=30))
def ingestion_health() -> None:
    """Wire the hourly maintenance of the raw tables."""

    @task
    def create_partitions() -> list[str]:
        from flink_jobs.warehouse.orchestration import transformer_dsn
        from flink_jobs.warehouse.partitions import create_partitions

        return [f"{change.action} {change.partition}" for change in create_partitions(transformer_dsn())]

    @task
    def expire_rows() -> list[str]:
        from flink_jobs.warehouse.orchestration import transformer_dsn
        from flink_jobs.warehouse.partitions import expire_rows

        return [f"{item.action} {item.partition}: {item.rows} rows" for item in expire_rows(transformer_dsn())]

    @task(outlets=[RAW_SEEN])
    def note_freshness() -> int:
        from flink_jobs.warehouse.orchestration import database_day, transformer_dsn
        from flink_jobs.warehouse.run_log import check_day

        dsn = transformer_dsn()
        return check_day(dsn, "freshness", database_day(dsn))

    create_partitions() >> expire_rows() >> note_freshness()


ingestion_health()
