"""``streamflow backup``: takes, verifies, lists, deletes and restores backups of the database."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Take, verify, list, delete and restore backups of the database.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="name of the backup; newest: the newest complete backup")]
NEWEST = "newest"


@app.command()
def take(output: OutputOption = Output.PLAIN) -> None:
    """Dump the whole database, gold included, to STREAMFLOW_BACKUP_STORE or STREAMFLOW_BACKUP_DIR.

    The backup restores to one point in time, which the command prints. It counts as a backup after `verify`.
    """
    from flink_jobs.warehouse.backup_store import open_backup_store
    from flink_jobs.warehouse.backups import back_up

    settings = load_settings()
    with open_backup_store(settings) as store:
        made, place = back_up(settings, store), store.place
    rows = sum(item.rows for item in made.tables.values())
    emit(
        output,
        {"name": made.name, "point_in_time": made.point_in_time.isoformat(), "bytes": made.size_bytes, "rows": rows},
        lambda: out.print(f"{place}/{made.name} restores to {made.point_in_time:%Y-%m-%dT%H:%M:%SZ} ({rows:,} rows)"),
    )


@app.command()
def verify(name: Name = NEWEST, output: OutputOption = Output.PLAIN) -> None:
    """Restore a backup into a scratch database on the same server, compare every table and record the proof."""
    from flink_jobs.warehouse import backups
    from flink_jobs.warehouse.backup_store import open_backup_store

    settings = load_settings()
    with open_backup_store(settings) as store:
        chosen = _chosen(backups.complete_backups(store), name, store.place)
        found = backups.verify(settings, store, chosen)
    rows = {key: value.rows for key, value in found.items()}
    emit(output, {"name": chosen, "rows": rows}, lambda: out.print(f"{chosen} restores: {len(rows)} tables are equal"))


@app.command("list")
def list_backups(output: OutputOption = Output.PLAIN) -> None:
    """List the complete backups with their points in time."""
    from flink_jobs.warehouse import backups
    from flink_jobs.warehouse.backup_store import open_backup_store

    with open_backup_store(load_settings()) as store:
        found = [backups.read_backup(store, name) for name in backups.complete_backups(store)]
    rows = [[item.name, item.point_in_time.isoformat(), f"{item.size_bytes:,}"] for item in found]
    value = [
        {"name": name, "point_in_time": moment, "bytes": int(size.replace(",", ""))} for name, moment, size in rows
    ]
    emit(output, {"backups": value}, lambda: table(["backup", "restores to", "bytes"], rows))


@app.command()
def prune(
    keep_days: Annotated[int, typer.Option(min=1, help="age from which a backup is deleted")] = 30,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Delete backups that are older than --keep-days; the newest complete backup always stays."""
    from flink_jobs.warehouse import backups
    from flink_jobs.warehouse.backup_store import open_backup_store

    with open_backup_store(load_settings()) as store:
        deleted = backups.prune(store, datetime.now(UTC), keep_days)
    emit(output, {"deleted": deleted}, lambda: out.print(f"{len(deleted)} backups deleted"))


@app.command()
def restore(name: Name = NEWEST, output: OutputOption = Output.PLAIN) -> None:
    """Restore a backup into the empty database of the settings, with owners and rights, and compare every table.

    Needs the login of the owner. It creates missing roles, sets their passwords and applies newer migrations.

    Example: STREAMFLOW_POSTGRES_DATABASE=streamflow_restored streamflow backup restore newest
    """
    from flink_jobs.warehouse import backups
    from flink_jobs.warehouse.backup_store import open_backup_store

    settings, start = load_settings(), time.monotonic()
    with open_backup_store(settings) as store:
        chosen = _chosen(backups.complete_backups(store), name, store.place)
        restored = backups.restore_backup(settings, store, chosen)
    seconds, moment = round(time.monotonic() - start, 1), restored.point_in_time.isoformat()

    def plain() -> None:
        out.print(f"{settings.postgres_database} is at {moment}; the restore took {seconds} s.")
        out.print(f"Next: reset the consumer group of the archive to {moment} (docs/disaster-recovery.md).")

    emit(output, {"name": chosen, "point_in_time": moment, "seconds": seconds}, plain)


def _chosen(complete: list[str], name: str, place: str) -> str:
    if name == NEWEST and complete:
        return complete[-1]
    if name not in complete:
        raise UserError(f"{place} has no complete backup {name}", "`streamflow backup list` prints the backups")
    return name
