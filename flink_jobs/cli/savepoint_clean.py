"""`streamflow savepoint clean`: list old snapshots, and delete them on request."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.flink.savepoints.cleanup import KEEP, RECORD, delete, stored
from flink_jobs.flink.savepoints.snapshot import local_path
from flink_jobs.job.start_point import place_of
from flink_jobs.local.stack import Stack
from flink_jobs.settings import load_settings


def clean(
    *,
    keep: Annotated[int, typer.Option(min=1, help="snapshots of each job to keep, counted from the newest")] = KEEP,
    delete_them: Annotated[
        bool, typer.Option("--delete", help="delete those that may be deleted; without this option only list")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """List the savepoints and checkpoints of all jobs, and which of them may be deleted; delete them with --delete.

    Never deleted: the newest of each job, checkpoints of a running job, the snapshot that a running job was started
    from, and snapshots that cannot be read. Each deletion is printed and recorded in deleted.jsonl beside them.
    """
    settings = load_settings()
    savepoints = local_path(settings.savepoint_dir)
    items = stored(place_of(settings), partial(_active, FlinkRest(settings.flink_rest_url)), keep=keep)
    rows = [item.as_dict() for item in items]
    gone: list[str] = []
    if delete_them:
        for item in delete(items, savepoints):
            gone.append(str(item.folder))
            say(f"Deleted {item.folder} ({item.bytes:,} bytes)")

    def plain() -> None:
        columns = ["name", "job", "kind", "taken", "bytes", "kept because"]
        shown = [
            [item.folder.name, row["job"], row["kind"], row["taken"], row["bytes"], row["kept"] or "may be deleted"]
            for item, row in zip(items, rows, strict=True)
        ]
        table(columns, shown)
        free = [item for item in items if not item.kept]
        size = sum(item.bytes for item in free)
        if gone:
            out.print(f"Deleted {len(gone)} ({size:,} bytes); recorded in {savepoints / RECORD}", soft_wrap=True)
        elif free:
            out.print(f"{len(free)} may be deleted ({size:,} bytes): add --delete", soft_wrap=True)

    emit(output, {"snapshots": rows, "deleted": gone}, plain)


def _active(rest: FlinkRest) -> dict[str, str | None]:
    """Return the id of every active job with the path it was restored from.

    Raises:
        UserError: the stack is up, but its JobManager does not answer: which jobs run is unknown.
    """
    try:
        return {job.job_id: rest.checkpoints(job.job_id).restored_path for job in rest.active_jobs()}
    except (UserError, FlinkRestError):
        if Stack().is_up():
            raise
        return {}
