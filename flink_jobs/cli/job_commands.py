"""``streamflow submit``, ``jobs`` and ``cancel``: the Flink jobs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, duration, emit, out, say, table
from flink_jobs.cli.stack_commands import job_summary
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.flink.admission import refuse_second, require_slots
from flink_jobs.flink.jobs import ALL_JOBS, JOBS
from flink_jobs.flink.rest import FlinkRest
from flink_jobs.flink.resume import Start, choose_start, refuse_lost_histories
from flink_jobs.flink.submit import Submission
from flink_jobs.flink.submit import submit as submit_job
from flink_jobs.job.start_point import place_of
from flink_jobs.kafka.guarantee import Guarantee
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT, Settings, load_settings


class JobChoice(StrEnum):
    """The jobs to submit."""

    DETECT = "detect"
    ARCHIVE = "archive"
    LAKE = "lake"
    MERCHANTS = "merchants"
    ALL = "all"


JobArgument = Annotated[
    str | None, typer.Argument(help="id, start of an id, or part of a name; optional if one job runs")
]


def submit(
    which: Annotated[
        JobChoice,
        typer.Argument(
            help="detect scores transactions; archive copies the results to Postgres; lake writes decisions as "
            "Parquet; merchants publishes the history of merchants for models that need it (`all`: the first two)"
        ),
    ] = JobChoice.ALL,
    *,
    from_savepoint: Annotated[
        str | None, typer.Option(help="resume from this savepoint or checkpoint (one job only); default: the newest")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="start without state, at the committed offsets; leaves histories behind")
    ] = False,
    parallelism: Annotated[
        int | None, typer.Option(min=1, help="task slots for the detector or the lake job; default: Flink's, 1")
    ] = None,
    guarantee: Annotated[
        Guarantee | None, typer.Option(help="delivery guarantee of the results; default: STREAMFLOW_SINK_GUARANTEE")
    ] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start jobs on the cluster with `flink run`, and wait until all their tasks run.

    Each job resumes from its newest completed checkpoint or savepoint: state and Kafka offsets are those of the
    snapshot. `--fresh` starts it without state.
    """
    stack, settings = Stack(say=say), load_settings()
    rest = FlinkRest(settings.flink_rest_url)
    names = list(JOBS) if which is JobChoice.ALL else [which.value]
    if from_savepoint and len(names) > 1:
        raise UserError(
            "a savepoint belongs to one job",
            "name the job: `streamflow submit detect --from-savepoint ...`",
            ErrorCode.USAGE_ERROR,
        )
    if from_savepoint and fresh:
        raise UserError("--from-savepoint and --fresh exclude each other", "use one of them", ErrorCode.USAGE_ERROR)
    widths = {name: None if name == "archive" else parallelism for name in names}
    environment: dict[str, str] = {"STREAMFLOW_SINK_GUARANTEE": guarantee} if guarantee else {}
    with stack.submitting():
        starts = _choose(rest, settings, widths, fresh=fresh, savepoint=from_savepoint)
        say(f"Submitting {' and '.join(names)} ...")
        started = _start(stack, rest, starts, widths, environment)
    emit(
        output,
        {
            "jobs": started,
            "starts": {name: item.as_dict() for name, item in starts.items()},
            "flink_ui": settings.flink_rest_url,
        },
        lambda: out.print(f"Flink UI: {settings.flink_rest_url}"),
    )


def _start(
    stack: Stack,
    rest: FlinkRest,
    starts: dict[str, Start],
    widths: dict[str, int | None],
    environment: dict[str, str],
) -> dict[str, str]:
    """Submit the jobs side by side and return their ids by name."""

    def start(name: str) -> str:
        job = Submission(REPO_ROOT / ALL_JOBS[name], (), widths[name], starts[name].savepoint, {}, environment)
        job_id = submit_job(stack.flink_client(), rest, job)
        say(f"{name} runs as {job_id}")
        return job_id

    with ThreadPoolExecutor(len(starts)) as pool:  # a client mostly waits for its JVM to start
        return dict(zip(starts, pool.map(start, starts), strict=True))


def _choose(
    rest: FlinkRest, settings: Settings, widths: dict[str, int | None], *, fresh: bool, savepoint: str | None
) -> dict[str, Start]:
    """Return where each job begins, and report it; refuse jobs that run already or have no task slots.

    ``widths`` is the parallelism of each job; ``None`` for Flink's default.
    """
    for name in widths:
        refuse_second(rest, name, settings.topic_prefix)
    require_slots(rest, widths)
    place = place_of(settings)
    starts = {name: choose_start(name, place, fresh=fresh, savepoint=savepoint) for name in widths}
    if not fresh:
        for start in starts.values():
            refuse_lost_histories(start, place, settings.broker())
    for line in (line for start in starts.values() for line in start.lines):
        say(line)
    problem = _model_problem(settings) if "detect" in starts and starts["detect"].uses_settings_model else None
    if problem is not None:
        say(f"No model can be loaded ({problem}): the detector will score with the rules alone (degraded).")
        say("Fix this, then name the model with `streamflow control model` or `streamflow model promote`.")
    return starts


def _model_problem(settings: Settings) -> str | None:
    """Return why the detector cannot load the model it will start with, None if it can."""
    from flink_jobs.artifacts.finder import find_model, histories_of
    from flink_jobs.core.models.model import ModelError, model_directory

    try:
        version = settings.model_version or model_directory(settings.model_dir).name
        histories = histories_of(settings.entities)
        own = settings.own_values()
        find_model(str(settings.model_dir), settings.artifact_store, version, None, histories, own)
    except ModelError as error:
        return error.detail
    return None


def jobs(*, output: OutputOption = Output.PLAIN) -> None:
    """List the Flink jobs, running and ended, newest first."""
    rest = job_rest(load_settings())
    found = [job_summary(rest, job.job_id, job.name, job.state, job.start_ms) for job in rest.jobs()]
    columns = ["id", "name", "state", "checkpoints", "failed_checkpoints"]
    rows = [[*(item[key] for key in columns), duration(item["checkpoint_age_s"])] for item in found]
    emit(output, found, lambda: table(["id", "name", "state", "checkpoints", "failed", "checkpoint age"], rows))


def cancel(job: JobArgument = None) -> None:
    """Stop a job at once, without a savepoint, and print which checkpoint remains.

    Records since that checkpoint are processed again after `submit`. `streamflow savepoint stop` leaves none over.
    """
    rest = job_rest(load_settings())
    job_id = one_job(rest, job)
    rest.cancel(job_id)
    remains = rest.checkpoints(job_id)
    if remains.last_path is None:
        say(f"Job {job_id} is cancelled. It completed no checkpoint: its work since the start is not in any snapshot.")
        return
    old = duration(remains.age_s(time.time() * 1_000))
    say(f"Job {job_id} is cancelled. Its last checkpoint remains, {old} old: {remains.last_path}")
    say("`streamflow submit` resumes from it unless a newer savepoint exists.")


def job_rest(settings: Settings) -> FlinkRest:
    """Return a client of the JobManager."""
    return FlinkRest(settings.flink_rest_url)


def one_job(rest: FlinkRest, job: str | None) -> str:
    """Return the id of the named job, or of the only running job.

    Raises:
        UserError: no job matches, or more than one.
    """
    if job is not None:
        return rest.find_job(job).job_id
    active = rest.active_jobs()
    if len(active) == 1:
        return active[0].job_id
    names = ", ".join(f"{item.name} ({item.job_id})" for item in active)
    if not active:
        raise UserError("no job is running", "start one with `streamflow submit`")
    raise UserError(f"several jobs are running: {names}", "name one of them")
