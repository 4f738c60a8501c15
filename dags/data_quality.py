"""Run every check of `sql/quality` on each closed day since the last trusted one, or on `day` when triggered by hand.

A day (UTC, of event time) is due again when rows were loaded after its checks. One run checks up to 31 days, the oldest
first; `ops.quality_days` has the result of each.

First, `streamflow completeness` compares Kafka's offsets with the rows and stores the result in `ops.kafka_positions`.
If Kafka does not answer, it is unknown whether rows are missing: the task fails after its retries and no check starts.
If a check with severity `error` finds a violation, its task fails, the gold build does not start, and gold does not
change. All results are in `ops.quality_results`, each with the first violating row.

**If it fails**: run the query of the failed check, fix the cause (redrive dead letters, or wait until the archive has
no backlog) and clear the failed tasks. There is nothing to roll back.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task, task_group

from flink_jobs.warehouse.orchestration import DAY_TRUSTED, RAW_SEEN, dag_head


@dag(
    schedule=[RAW_SEEN],
    **dag_head(__doc__, tags=["warehouse", "quality"], minutes=30),
    params={
        "day": Param(
            None, type=["null", "string"], format="date", description="UTC day; default: the closed days that are due"
        )
    },
)
def data_quality() -> None:
    """Wire the checks that gate the gold build."""

    @task
    def choose_days(params: dict[str, str | None] | None = None) -> dict[str, str]:
        from flink_jobs.warehouse.closed_days import days_to_check
        from flink_jobs.warehouse.orchestration import transformer_dsn

        return days_to_check(transformer_dsn(), (params or {}).get("day"))

    @task
    def compare_with_kafka() -> str:
        from flink_jobs.warehouse import commands

        return commands.compare_with_kafka()

    @task
    def list_checks() -> list[str]:
        from flink_jobs.warehouse.paths import QUALITY_CHECKS
        from flink_jobs.warehouse.queries import read_sql_files

        return list(read_sql_files(QUALITY_CHECKS))

    @task_group
    def gates(days: dict[str, str]) -> None:
        @task(retries=0, map_index_template="{{ name }}")
        def check(name: str, days: dict[str, str]) -> int:
            from datetime import date

            from airflow.sdk import get_current_context

            from flink_jobs.warehouse.orchestration import transformer_dsn
            from flink_jobs.warehouse.run_log import check_days

            get_current_context()["name"] = name  # type: ignore[typeddict-unknown-key]  # shown in place of the index
            return check_days(transformer_dsn(), name, [date.fromisoformat(day) for day in days])

        check.partial(days=days).expand(name=list_checks())

    @task(outlets=[DAY_TRUSTED])
    def trust(days: dict[str, str]) -> list[str]:
        from flink_jobs.warehouse.closed_days import trust_days
        from flink_jobs.warehouse.orchestration import transformer_dsn

        trust_days(transformer_dsn(), days)
        return list(days)

    days = choose_days()
    compare_with_kafka() >> gates(days) >> trust(days)  # type: ignore[arg-type]  # Airflow passes the value of the task at run time


data_quality()
