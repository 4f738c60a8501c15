"""Look after the raw tables every hour.

Makes the partitions of the days to come, moves rows that waited for theirs, drops days beyond the retention of
`ops.partition_policy`, and notes how fresh the newest decision is (`ops.quality_results`; a stale feed warns, it
fails nothing). Then data quality looks at the last closed day.

**If it fails**: a table was in use for longer than ten seconds. The next try is usually enough; else end the long
query.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from flink_jobs.warehouse.orchestration import RAW_SEEN, dag_head


@dag(schedule="7 * * * *", **dag_head(__doc__, tags=["warehouse", "raw"], minutes=30))
def ingestion_health() -> None:
    """Wire the hourly look at the raw tables."""

    @task
    def roll() -> list[str]:
        from datetime import UTC, datetime

        from flink_jobs.warehouse.orchestration import transformer_dsn
        from flink_jobs.warehouse.partitions import roll_partitions

        changes = roll_partitions(transformer_dsn(), datetime.now(UTC).date())
        return [f"{change.action} {change.partition}" for change in changes]

    @task(outlets=[RAW_SEEN])
    def note_freshness() -> int:
        from datetime import date

        from flink_jobs.warehouse.orchestration import raw_closed_day, transformer_dsn
        from flink_jobs.warehouse.run_log import check_day

        dsn = transformer_dsn()
        return check_day(dsn, "freshness", date.fromisoformat(raw_closed_day(dsn)))

    roll() >> note_freshness()


ingestion_health()
