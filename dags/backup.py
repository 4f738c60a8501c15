"""Back the database up every night, prove that the backup restores, and delete the old ones.

A dump of everything but the rows of gold, as of one moment, with counts and checksums of every table. It is restored
into a scratch database on the same server and compared before an older one is deleted; `ops.backups` says when.

**If it fails**: the log says which program or which table. What was there before stays; an unfinished dump does not.
It uses the owner's account, which may read all tables and create the scratch database. How to restore: docs/marts.md.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="43 1 * * *",
    **dag_head(__doc__, tags=["warehouse", "backup"], minutes=180),
    params={"keep": Param(14, type="integer", minimum=1, description="backups that are kept")},
)
def backup() -> None:
    """Wire dump, proof and clearing away."""

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

    restore_and_compare(dump()) >> delete_old()  # type: ignore[arg-type]  # a value when it runs, its promise here


backup()
