"""Back up the database every night, prove that the backup restores, and delete old backups.

A backup is a dump of one snapshot of the database with row counts and checksums of every table, gold included. The DAG
restores it into a scratch database on the same server and compares all tables. Only then does it delete older
backups. `ops.backups` has the times of backup and verification.

**If it fails**: the log names the failed program or table. Earlier backups stay, and an unfinished dump is deleted. The
DAG uses the login of the owner, which may read all tables and create the scratch database. How to restore a backup:
docs/marts.md.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="43 1 * * *",
    **dag_head(__doc__, tags=["warehouse", "backup"], minutes=180),
    params={"keep": Param(14, type="integer", minimum=1, description="number of backups to keep")},
)
def backup() -> None:
    """Wire dump, restore with comparison, and deletion of old backups."""

    @task
    def dump() -> str:
        from datetime import UTC, datetime

        from flink_jobs.settings import load_settings
        from flink_jobs.warehouse.backups import back_up

        settings = load_settings()
        return str(back_up(settings, settings.backup_dir, datetime.now(UTC)))

    @task
    def restore_and_compare(path: str) -> dict[str, int]:
        from pathlib import Path

        from flink_jobs.settings import load_settings
        from flink_jobs.warehouse.backups import verify

        return {name: table.rows for name, table in verify(load_settings(), Path(path)).items()}

    @task
    def delete_old(params: dict[str, int] | None = None) -> list[str]:
        from flink_jobs.settings import load_settings
        from flink_jobs.warehouse.backups import prune

        return prune(load_settings().backup_dir, (params or {})["keep"])

    restore_and_compare(dump()) >> delete_old()  # type: ignore[arg-type]  # Airflow passes the value at run time


backup()
