"""``streamflow savepoint``: takes savepoints, and reads them without a cluster."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flink_jobs.changing_folders import paths_in, statuses
from flink_jobs.cli.job_commands import JobArgument, job_rest, one_job
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.savepoint_clean import clean
from flink_jobs.cli.savepoint_output import described, print_customers, print_savepoint
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.flink.savepoints.snapshot import Snapshot
    from flink_jobs.flink.savepoints.stored_customer import StoredCustomer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Take, list, check, inspect and clean savepoints.")
app.command("clean")(clean)

PathArgument = Annotated[
    str, typer.Argument(help="savepoint: path as printed by `savepoint take` or `stop`, or its folder")
]


class JobName(StrEnum):
    """The job that shall resume."""

    DETECT = "detect"
    ARCHIVE = "archive"
    LAKE = "lake"
    MERCHANTS = "merchants"


class ExecutionMode(StrEnum):
    """The execution mode of the job that shall resume."""

    THREAD = "thread"
    PROCESS = "process"


@app.command()
def take(job: JobArgument = None, *, output: OutputOption = Output.PLAIN) -> None:
    """Take a savepoint of a running job, which keeps running; print its path."""
    settings = load_settings()
    rest = job_rest(settings)
    job_id = one_job(rest, job)
    _print_path(output, job_id, rest.savepoint(job_id, settings.savepoint_dir))


@app.command()
def stop(job: JobArgument = None, *, output: OutputOption = Output.PLAIN) -> None:
    """Stop a job with a savepoint; print its path, for `streamflow submit --from-savepoint`."""
    settings = load_settings()
    rest = job_rest(settings)
    job_id = one_job(rest, job)
    _print_path(output, job_id, rest.stop_with_savepoint(job_id, settings.savepoint_dir))


def _print_path(output: Output, job_id: str, path: str) -> None:
    emit(output, {"job": job_id, "path": path}, lambda: out.print(path, soft_wrap=True))


@app.command("list")
def list_savepoints(
    folder: Annotated[str | None, typer.Argument(help="folder to search; default: STREAMFLOW_SAVEPOINT_DIR")] = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """List the savepoints in a folder, newest last."""
    from flink_jobs.flink.savepoints.snapshot import METADATA, local_path

    where = local_path(folder or load_settings().savepoint_dir)
    if not where.is_dir():
        raise UserError(f"there is no folder {where}", "name the folder to which jobs write savepoints")
    dated = ((status.st_mtime, file.parent) for file, status in statuses(paths_in(where, f"*/{METADATA}")))
    items = [_listed(folder, taken_s) for taken_s, folder in sorted(dated)]
    if not items:
        say(f"There is no savepoint in {where}.")
    rows = [[item["name"], item["taken"], item["job"], item["kind"], item["bytes"], item["problem"]] for item in items]
    emit(output, items, lambda: table(["name", "taken", "job", "kind", "bytes", "problem"], rows))


def _listed(folder: Path, taken_s: float) -> dict[str, Any]:
    from flink_jobs.flink.savepoints.check import job_of
    from flink_jobs.flink.savepoints.snapshot import open_snapshot

    row: dict[str, Any] = {
        "name": folder.name,
        "path": folder.as_uri(),
        "taken": datetime.fromtimestamp(taken_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        **dict.fromkeys(("job", "kind", "bytes", "problem")),
    }
    try:
        with open_snapshot(str(folder)) as snapshot:
            row["job"] = job_of(snapshot) or "foreign"
            row["kind"] = "checkpoint" if snapshot.is_incremental else "savepoint"
            row["bytes"] = sum(operator.bytes for operator in snapshot.operators)
            snapshot.check_files()
    except UserError as error:
        row["problem"] = error.what
    return row


@app.command()
def check(
    path: PathArgument,
    *,
    job: Annotated[
        JobName | None, typer.Option(help="job that shall resume; default: the job that wrote the savepoint")
    ] = None,
    mode: Annotated[
        ExecutionMode | None, typer.Option(help="execution mode of that job; default: STREAMFLOW_EXECUTION_MODE")
    ] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Check whether this release's job can resume from a savepoint, and show its operators; exit code 1 if it cannot.

    `submit --from-savepoint` does the same check before it starts a job.
    """
    from flink_jobs.flink.savepoints.check import job_of, obstacles
    from flink_jobs.flink.savepoints.snapshot import open_snapshot

    with open_snapshot(path) as snapshot:
        snapshot.check_files()
        wanted = job.value if job else job_of(snapshot) or JobName.DETECT.value
        found = obstacles(snapshot, wanted, mode.value if mode else _mode())
        operators = [
            {"uid": item.uid, "name": item.name, "parallelism": item.parallelism, "bytes": item.bytes}
            for item in snapshot.operators
            if item.has_state
        ]

    def plain() -> None:
        table(["uid", "name", "parallelism", "bytes"], [list(item.values()) for item in operators])
        out.print()
        for item in found:
            out.print(
                f"{wanted} cannot resume from it: {item.what}. What to do: {item.fix}", markup=False, soft_wrap=True
            )
        if not found:
            out.print(f"{wanted} can resume from it")

    document = {"job": wanted, "can_go_on": not found, "operators": operators,
                "obstacles": [{"what": item.what, "fix": item.fix} for item in found]}  # fmt: skip
    emit(output, document, plain)
    if found:
        raise typer.Exit(1)


def _mode() -> str:
    """Return the execution mode of the settings; thread mode if there are none, as on a machine without a stack."""
    try:
        return load_settings().execution_mode
    except UserError:
        return ExecutionMode.THREAD


@app.command()
def inspect(
    path: PathArgument,
    *,
    customer: Annotated[str | None, typer.Option(help="show only this customer, in full")] = None,
    limit: Annotated[int, typer.Option(min=0, help="largest number of customers to show; all are counted")] = 20,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Print the customers' states in a savepoint, and its configuration.

    For example: streamflow savepoint inspect file:/.../savepoint-1a2b3c-0123456789ab --customer 741825307822
    """
    from flink_jobs.cli.progress import counted
    from flink_jobs.flink.savepoints.snapshot import open_snapshot

    with open_snapshot(path) as snapshot:
        versions: Counter[int] = Counter()
        chosen: list[StoredCustomer] = []
        for found in counted(snapshot.customers(customer), "customers"):
            versions[found.version] += 1
            if len(chosen) < limit or customer is not None:
                chosen.append(found)
        if customer is not None and not chosen:
            raise UserError(
                f"customer {customer} is not in {snapshot.folder}",
                "see `streamflow savepoint inspect` without --customer",
            )
        customers = [described(item) for item in chosen]
        document = {"path": str(snapshot.folder), "customers": versions.total(),
                    "state_versions": dict(sorted(versions.items())), "config": _config(snapshot),
                    "shown": customers}  # fmt: skip
    emit(output, document, lambda: print_customers(customers) if customer is not None else print_savepoint(document))


def _config(snapshot: Snapshot) -> Any:  # noqa: ANN401 - as stored, JSON
    import json

    stored = snapshot.config()
    return None if stored is None else json.loads(stored)
