"""Write a report of each day's dead letters: their number by reason and stage, the usual number, and one example each.

`streamflow dlq report` writes the counts to `ops.dead_letter_report` and a page `dead-letters-DAY.html` to the folder
of reports. The DAG reports every day from the last reported day on, because that day may have been incomplete. When
you trigger it by hand, `day` (UTC, by the time of the rejection) selects one day.

**If it fails**: the folder of reports is not writable, or the database does not answer. Fix the cause and clear the
task. A repeated report replaces the counts of its day.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="23 4 * * *",
    **dag_head(__doc__, tags=["warehouse", "dead-letters"], minutes=30),
    params={
        "day": Param(None, type=["null", "string"], format="date", description="UTC day; default: all that are due")
    },
)
def dead_letter_report() -> None:
    """Wire one task that reports the days that are due."""

    @task
    def report(params: dict[str, str | None] | None = None) -> list[str]:
        from flink_jobs.warehouse.commands import run_streamflow

        # The command draws charts, and the drawing library is installed in the streaming environment only.
        day = (params or {}).get("day")
        answer = run_streamflow("dlq", "report", *(["--day", day] if day else []))
        return [str(one["page"]) for one in answer.document["reports"]]

    report()


dead_letter_report()
