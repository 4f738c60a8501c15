"""Report each day's dead letters: how many for which reason, at which stage, how many are usual, one example of each.

Counts are in `ops.dead_letter_report`, the page is `dead-letters-DAY.html` in the folder of reports. Reports the days
since the last one, that one again; or `day` (UTC, by the time of setting aside) when triggered by hand.

**If it fails**: the folder of reports cannot be written, or the database does not answer. Clear the task; a day is
counted anew each time.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="23 4 * * *",
    **dag_head(__doc__, tags=["warehouse", "dead-letters"], minutes=30),
    params={"day": Param(None, type=["null", "string"], format="date", description="UTC day; default: what is due")},
)
def dead_letter_report() -> None:
    """Wire a report for each day that is due."""

    @task
    def list_days(params: dict[str, str | None] | None = None) -> list[str]:
        from flink_jobs.dead_letters.daily_report import unreported_days
        from flink_jobs.warehouse.orchestration import transformer_dsn

        day = (params or {}).get("day")
        return [day] if day else [str(due) for due in unreported_days(transformer_dsn())]

    @task(map_index_template="{{ day }}")
    def report(day: str) -> str:
        from datetime import date

        from airflow.sdk import get_current_context

        from flink_jobs.dead_letters.daily_report import report_day
        from flink_jobs.settings import load_settings

        get_current_context()["day"] = day  # type: ignore[typeddict-unknown-key]  # shown in place of the index
        settings = load_settings()
        dsn = settings.postgres_dsn_as("transformer")
        return str(report_day(dsn, date.fromisoformat(day), settings.report_dir).path)

    report.expand(day=list_days())


dead_letter_report()
