"""Back up the database every night, prove that the backup restores, and delete old backups.

A backup is a dump of one snapshot of the database with row counts and checksums of every table, gold included. It goes
to `STREAMFLOW_BACKUP_STORE` (an S3 bucket) or `STREAMFLOW_BACKUP_DIR` (a folder). The DAG restores the stored file into
a scratch database on the same server and compares all tables. Only then it deletes backups older than `keep_days`.
`ops.backups` has the times of backup and verification.

**If it fails**: the log names the failed program or table. Earlier backups stay, and an unfinished dump is deleted. The
DAG uses the role `streamflow_backup`, which may read all tables and create the scratch database. How to restore a
backup: docs/disaster-recovery.md.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="43 1 * * *",
    **dag_head(__doc__, tags=["warehouse", "backup"], minutes=180),
    params={
        "keep_days": Param(30, type="integer", minimum=1, description="age in days from which a backup is deleted")
    },
)
def backup() -> None:
    """Wire dump, restore with comparison, and deletion of old backups."""

    @task
    def dump() -> str:
        from flink_jobs.warehouse.commands import run_streamflow

        return str(run_streamflow("backup", "take").document["name"])

    @task
    def restore_and_compare(name: str) -> dict[str, int]:
        from flink_jobs.warehouse.commands import run_streamflow

        rows: dict[str, int] = run_streamflow("backup", "verify", name).document["rows"]
        return rows

    @task
    def delete_old(params: dict[str, int] | None = None) -> list[str]:
        from flink_jobs.warehouse.commands import run_streamflow

        keep_days = str((params or {})["keep_days"])
        deleted: list[str] = run_streamflow("backup", "prune", "--keep-days", keep_days).document["deleted"]
        return deleted

    restore_and_compare(dump()) >> delete_old()  # type: ignore[arg-type]  # Airflow passes the value at run time


backup()
