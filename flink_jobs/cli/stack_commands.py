"""``streamflow up``, ``down`` and ``status``: the local stack of Postgres, Kafka and Flink."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from flink_jobs.cli.output import Output, OutputOption, duration, emit, out, say, table
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.flink.admission import MOST_TASKMANAGERS
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.flink.stopping import SAVEPOINT_LIMIT_S
from flink_jobs.job.start_point import place_of
from flink_jobs.kafka import lag
from flink_jobs.local.job_state import deleted, kept, old_snapshots
from flink_jobs.local.launch import COMPONENTS, Component
from flink_jobs.local.redis import find as find_redis
from flink_jobs.local.stack import Stack

FlinkPort = Annotated[
    int | None, typer.Option(min=1, max=65535, show_default="any free port", help="port of Flink's REST API and web UI")
]
KafkaPort = Annotated[
    int | None, typer.Option(min=1, max=65535, show_default="any free port", help="port of the Kafka broker")
]
PostgresPort = Annotated[
    int | None, typer.Option(min=1, max=65535, show_default="any free port", help="port of Postgres")
]
ApiPort = Annotated[
    int | None, typer.Option(min=1, max=65535, show_default="any free port", help="port of the HTTP API")
]
Secure = Annotated[
    bool | None,
    typer.Option(
        "--secure/--no-secure",
        help="TLS, authentication and access rights on Kafka and Postgres, with generated certificates; "
        "default: as at the last start",
    ),
]


def up(
    *,
    taskmanagers: Annotated[
        int, typer.Option(min=1, max=MOST_TASKMANAGERS, help="TaskManagers; each has one task slot and takes 1.7 GiB")
    ] = 2,
    secure: Secure = None,
    flink_port: FlinkPort = None,
    kafka_port: KafkaPort = None,
    postgres_port: PostgresPort = None,
    ha: Annotated[
        bool, typer.Option("--ha", help="also start ZooKeeper: jobs resume when `up` restarts a failed JobManager")
    ] = False,
    api: Annotated[
        bool, typer.Option("--api", help="also start the HTTP API and the console for analysts: docs/api.md")
    ] = False,
    api_port: ApiPort = None,
    redis: Annotated[
        bool | None,
        typer.Option(
            "--redis/--no-redis",
            help="count the rate limits of the API in Redis, as several processes of the API need it; default: with "
            "`--api`, if a redis-server is installed",
        ),
    ] = None,
    registry: Annotated[
        bool, typer.Option("--registry", help="also start a schema registry for Avro transactions: docs/schemas.md")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start Postgres, Kafka and a Flink cluster on this machine, and create topics and tables.

    The HTTP API and the console start only with `--api`.

    The processes keep running after this command returns; `streamflow down` stops them. Running processes are left
    alone, failed ones are restarted, and the data of earlier runs is kept.
    """
    start = time.monotonic()
    stack = Stack(say=say)
    has_redis = api and find_redis() is not None if redis is None else redis
    wanted: dict[Component, bool] = {"zookeeper": ha, "redis": has_redis, "registry": registry, "api": api}
    more = [name for name, is_wanted in wanted.items() if is_wanted]
    if stack.is_up():
        say(f"The stack in {stack.home.root} is up; starting only the missing processes.")
    else:
        say("Starting Postgres, Kafka and Flink ...")
    settings = stack.up(
        [*COMPONENTS, *more],
        taskmanagers=taskmanagers,
        secure=secure,
        wanted_ports={"flink": flink_port, "kafka": kafka_port, "postgres": postgres_port, "api": api_port},
    )
    say(f"Up in {time.monotonic() - start:.0f} s. Settings are in {stack.home.env_file}")
    lines = [] if FlinkRest(settings.flink_rest_url).active_jobs() else list(kept(place_of(settings)))
    if lines:
        say("No job is running. `streamflow submit` resumes from the newest snapshots:")
    for line in lines:
        say(line)
    if not _runs(stack, "api"):
        say("The HTTP API and the console for analysts are not started: `streamflow up --api` starts them.")
    emit(output, settings.masked(), lambda: out.print(f"Flink UI: {settings.flink_rest_url}"))


def down(
    *,
    wipe: Annotated[
        bool, typer.Option("--wipe", help="also delete the data: topics, tables, checkpoints, savepoints, logs")
    ] = False,
    savepoint_timeout: Annotated[
        float, typer.Option(min=0, help="seconds that the savepoint of a running job may take; 0: take none")
    ] = SAVEPOINT_LIMIT_S,
) -> None:
    """Stop every process that `up` started, and no other process.

    Running jobs are first stopped with a savepoint, from which the next `submit` resumes. A job whose savepoint fails
    or takes too long keeps its last checkpoint. `--wipe` takes no savepoint.
    """
    start = time.monotonic()
    stack = Stack(say=say)
    if stack.record.origin is not None:
        say(
            f"Nothing of this stack runs: {stack.home.root} was copied or moved from {stack.record.origin}, "
            "and no process there was touched."
        )
    lost = _wiped(stack) if wipe else None
    stopped = stack.down(wipe=wipe, savepoint_limit_s=None if wipe else savepoint_timeout)
    if stopped:
        say(f"Stopped {', '.join(stopped)} in {time.monotonic() - start:.1f} s.")
        if not wipe and (told := old_snapshots(stack.settings())):
            say(told)
    elif stack.record.origin is None:
        say(f"Nothing was running in {stack.home.root}.")
    if lost is not None:
        say(lost)


def _wiped(stack: Stack) -> str | None:
    """Return what a wipe deletes; ``None`` if there is no stack."""
    if not stack.home.record.exists():
        return None
    told = f"Deleted {stack.home.root} and its database: topics, tables, checkpoints, savepoints and logs."
    try:
        return f"{told} {deleted(stack.settings())}"
    except UserError as error:
        return f"{told} The states of an unknown number of customers are deleted with it ({error.what})."


def status(*, output: OutputOption = Output.PLAIN) -> None:
    """Show the processes of the stack, the jobs with their last checkpoint, and the consumer lag."""
    stack = Stack()
    processes = stack.status()
    if not processes:
        raise UserError(f"the stack in {stack.home.root} is not up", "run `streamflow up`", ErrorCode.STACK_DOWN)
    settings = stack.settings()
    jobs = _jobs(FlinkRest(settings.flink_rest_url, timeout_s=3))
    consumers = lag.consumer_lag(settings.broker()) if _runs(stack, "kafka") else []
    value = {
        "home": stack.home.root,
        "flink_ui": settings.flink_rest_url,
        "components": [vars(item) for item in processes],
        "jobs": jobs,
        "consumers": [vars(item) for item in consumers],
    }

    def plain() -> None:
        rows = [
            (
                item.name,
                item.state,
                item.pid,
                " ".join(f"{k.rpartition('.')[2]}:{v}" for k, v in item.ports.items()),
                duration(item.age_s),
            )
            for item in processes
        ]
        table(["component", "state", "pid", "ports", "up for"], rows)
        out.print(f"\nFlink UI: {settings.flink_rest_url}\n")
        columns = ["id", "name", "state", "running_for_s", "checkpoints", "checkpoint_age_s"]
        _print_jobs(jobs, columns)
        if consumers:
            out.print()
            table(
                ["consumer group", "topic", "position", "end", "lag"],
                [(c.group, c.topic, c.position, c.end, c.lag) for c in consumers],
            )

    emit(output, value, plain)


def _runs(stack: Stack, name: str) -> bool:
    return any(item.name == name and item.state == "running" for item in stack.status())


def _print_jobs(jobs: list[dict[str, Any]] | None, columns: list[str]) -> None:
    if jobs is None:
        out.print("Flink's JobManager does not answer.")
    elif not jobs:
        out.print("No job is running: start one with `streamflow submit`.")
    else:
        shown = [[duration(job[key]) if key.endswith("_s") else job[key] for key in columns] for job in jobs]
        table([key.removesuffix("_s").replace("_", " ") for key in columns], shown)


def _jobs(rest: FlinkRest) -> list[dict[str, Any]] | None:
    """Return every active job with its checkpoints; None when the JobManager does not answer."""
    try:
        return [job_summary(rest, job.job_id, job.name, job.state, job.start_ms) for job in rest.active_jobs()]
    except (UserError, FlinkRestError):
        return None


def job_summary(rest: FlinkRest, job_id: str, name: str, state: str, start_ms: int) -> dict[str, Any]:
    """Return the row that ``status`` and ``jobs`` show for one job."""
    now_ms = time.time() * 1000
    checkpoints = rest.checkpoints(job_id)
    return {
        "id": job_id,
        "name": name,
        "state": state,
        "running_for_s": round((now_ms - start_ms) / 1000, 1),
        "checkpoints": checkpoints.completed,
        "failed_checkpoints": checkpoints.failed,
        "checkpoint_age_s": checkpoints.age_s(now_ms),
        "checkpoint_bytes": checkpoints.last_size_bytes,
    }
