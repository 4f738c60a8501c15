"""What `down` does about the state of the Flink jobs: a savepoint of each, else their last checkpoint, reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flink_jobs.errors import UserError
from flink_jobs.flink.jobs import ALL_JOBS
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.flink.resume import age
from flink_jobs.flink.savepoints.cleanup import stored
from flink_jobs.flink.savepoints.latest import Place, newest
from flink_jobs.flink.stopping import stop_jobs
from flink_jobs.job.start_point import place_of
from flink_jobs.local import flink
from flink_jobs.local.record import StackRecord
from flink_jobs.settings import Settings

_REST_TIMEOUT_S = 5.0


def keep_state(record: StackRecord, load: Callable[[], Settings], limit_s: float, say: Callable[[str], None]) -> None:
    """Stop every job of a stack's cluster with a savepoint, and report what is kept; nothing here stops a `down`.

    Args:
        record: the stack's processes.
        load: returns its settings.
        limit_s: seconds that a savepoint may take; 0 takes none.
        say: takes the report, a line at a time.
    """
    if flink.JOB_MANAGER not in record.processes:
        return
    try:
        settings = load()
    except UserError as error:
        say(f"No savepoint was taken: {error.what}. Checkpoints are kept.")
        return
    rest = FlinkRest(settings.flink_rest_url, timeout_s=_REST_TIMEOUT_S)
    try:
        jobs = rest.active_jobs() if record.alive(flink.JOB_MANAGER) else None
    except (UserError, FlinkRestError):
        jobs = None
    if jobs is None:
        say("No savepoint was taken: the JobManager does not answer.")
        for line in kept(place_of(settings)):
            say(line)
        return
    if not jobs:
        return
    obstacle = _obstacle(record)
    if not obstacle and limit_s > 0:
        say(f"Stopping {', '.join(job.name for job in jobs)} with a savepoint (within {limit_s:g} s) ...")
    for stopped in stop_jobs(rest, jobs, settings.savepoint_dir, limit_s=limit_s, obstacle=obstacle):
        say(stopped.line())


def _obstacle(record: StackRecord) -> str:
    """Return why no savepoint can complete, if the processes show it."""
    if "kafka" in record.processes and not record.alive("kafka"):
        return "Kafka does not run"
    if not any(record.alive(name) for name in record.processes if name.startswith("taskmanager-")):
        return "no TaskManager runs"
    return ""


def deleted(settings: Settings) -> str:
    """Return how many customers' states a wipe deletes, as a sentence."""
    try:
        found = newest("detect", place_of(settings))
    except UserError as error:
        return f"The states of an unknown number of customers are deleted with it ({error.what})."
    if found is None:
        return "No customer's state was stored in it."
    count, reason = found.customers()
    told = f"{count:,} customers" if count is not None else f"an unknown number of customers ({reason})"
    return f"The states of {told} are deleted with it."


def old_snapshots(settings: Settings) -> str | None:
    """Return how many older snapshots of ended jobs may be deleted, as a sentence; ``None`` for none."""
    try:
        free = [item for item in stored(place_of(settings), dict) if not item.kept]
    except UserError:
        return None
    if not free:
        return None
    size = sum(item.bytes for item in free)
    return f"{len(free)} older snapshots use {size / 1e6:,.1f} MB: `streamflow savepoint clean` lists them."


def kept(place: Place) -> Iterator[str]:
    """Yield, for each job, which snapshot is kept for the next `submit`."""
    for job in ALL_JOBS:
        try:
            found = newest(job, place)
        except UserError as error:
            yield f"{job}: {error.what}"
            continue
        if found is not None:
            yield f"{job}: its newest {found.kind} is kept, {age(found.age_s())} old: {found.uri}"
