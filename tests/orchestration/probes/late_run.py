"""A run that misses its deadline: it ends only after the missed deadline is recorded. For `make airflow-check`.

**If it fails**: the missed deadline was not recorded.
"""

from __future__ import annotations

import psycopg
from airflow.sdk import dag, task

from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.orchestration import dag_head, transformer_dsn

QUERY = "SELECT FROM ops.incidents WHERE kind = 'deadline_missed' AND dag_id = 'late_run'"


@dag(schedule=None, **dag_head(__doc__, tags=["test"], minutes=0.1))
def late_run() -> None:
    """Wire the single task."""

    @task(retries=0)
    def wait_until_noted() -> None:
        def is_noted() -> bool:
            with psycopg.connect(transformer_dsn()) as connection:
                return connection.execute(QUERY).fetchone() is not None

        wait_for(is_noted, limit_s=600, what="the missed deadline", interval_s=1.0)

    wait_until_noted()


late_run()
