"""``streamflow canary``: tries a new detector beside the running one, on the same transactions."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flink_jobs.canary.comparison import Limits
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT, load_settings

if TYPE_CHECKING:
    from flink_jobs.canary.comparison import Comparison
    from flink_jobs.flink.rest import FlinkRest
    from flink_jobs.settings import Settings

RETURN_EXIT, UNKNOWN_EXIT = 3, 4
PAUSE_S = 2.0
_OLDER_MS = 600_000
"""A savepoint completes at most this long after the records behind it are processed."""

_NUMBER: Final = {"int": int, "float": float}


def _limits_text() -> str:
    return ", ".join(f"{field.name}={field.default}" for field in fields(Limits))


def limits_of(texts: Sequence[str]) -> Limits:
    """Return the limits with those that the user sets.

    Raises:
        UserError: a name is not one of a limit, or a value is not a number of at least 0.

    >>> limits_of(["equal_share=0.98"]).equal_share
    0.98
    """
    known, chosen = {field.name: _NUMBER[str(field.type)] for field in fields(Limits)}, {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            chosen[name] = known[name](value)
        except (KeyError, ValueError):
            raise UserError(f"{text!r} is not a limit", f"write NAME=VALUE, as in {_limits_text()}") from None
        if not chosen[name] >= 0:
            raise UserError(f"{text!r} is not a limit", "a limit is at least 0")
    return replace(Limits(), **chosen)


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Canary: a new detector scores the same transactions beside the running one; nobody sees its results.",
)


@app.command()
def start(
    *,
    from_savepoint: Annotated[
        str | None, typer.Option(help="savepoint of the running detector to start from; default: a new one")
    ] = None,
    parallelism: Annotated[int | None, typer.Option(min=1, help="task slots; default: Flink's, 1")] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start the detector of this checkout and these settings as a canary, with the state of the running detector.

    It reads the same transactions, control messages and actions. Its consumer group, Kafka transactions and topics are
    its own (STREAMFLOW_TOPIC_PREFIX plus `-canary`), so no alert, reply or decision of it reaches anybody.

    Example: STREAMFLOW_MODEL_VERSION=20260801 streamflow canary start
    """
    from flink_jobs.canary.running import CanaryRecord, environment, find_canary, make_topics, remove
    from flink_jobs.flink.admission import require_slots, running
    from flink_jobs.flink.jobs import JOBS
    from flink_jobs.flink.rest import FlinkRest
    from flink_jobs.flink.submit import Submission, submit
    from flink_jobs.local.stack import Stack

    settings, stack = load_settings(), Stack(say=say)
    rest = FlinkRest(settings.flink_rest_url)
    with stack.submitting():
        real = running(rest, "detect", settings.topic_prefix)
        if real is None:
            raise UserError("no detector runs that a canary could be compared with", "start it: `streamflow submit`")
        if (other := find_canary(rest, settings.topic_prefix)) is not None:
            raise UserError(f"a canary runs already as job {other.job_id}", "end it first: `streamflow canary end`")
        require_slots(rest, {"canary": parallelism})
        since_ms = _since(from_savepoint)
        savepoint = from_savepoint or rest.savepoint(real.job_id, settings.savepoint_dir)
        make_topics(settings.broker(), settings.topic_prefix)
        say(f"Submitting the canary from {savepoint} ...")
        script = REPO_ROOT / JOBS["detect"]
        # The state of the running job's sinks stays behind (contracts/uids.py says why).
        job = Submission(script, (), parallelism, savepoint, {}, environment(settings), leaves_state=True)
        try:
            job_id = submit(stack.flink_client(), rest, job)
        except UserError:
            remove(settings, None)
            raise
        record = CanaryRecord(job_id, savepoint, since_ms)
        record.save(settings.report_dir)
    emit(output, asdict(record), lambda: out.print(f"The canary runs as {job_id}; see `streamflow canary compare`"))


def _since(savepoint: str | None) -> int:
    """Return a time before which the running job had processed nothing behind a savepoint (ms since the epoch)."""
    from flink_jobs.flink.savepoints.latest import taken_s
    from flink_jobs.flink.savepoints.snapshot import local_path

    if savepoint is None:
        return time.time_ns() // 1_000_000
    try:
        return max(0, int(taken_s(local_path(savepoint)) * 1_000) - _OLDER_MS)
    except UserError:
        return 0  # in object storage: all outcomes are read


@app.command()
def status(*, output: OutputOption = Output.PLAIN) -> None:
    """Show whether a canary runs, its checkpoints and its backlog."""
    from flink_jobs.canary.running import find_canary
    from flink_jobs.cli.stack_commands import job_summary
    from flink_jobs.contracts.access import canary_prefix
    from flink_jobs.flink.rest import FlinkRest
    from flink_jobs.kafka.lag import consumer_lag

    settings = load_settings()
    rest = FlinkRest(settings.flink_rest_url)
    job = find_canary(rest, settings.topic_prefix)
    summary = None if job is None else job_summary(rest, job.job_id, job.name, job.state, job.start_ms)
    group = f"{canary_prefix(settings.topic_prefix)}-detect"
    backlog = {item.topic: item.lag for item in consumer_lag(settings.broker()) if item.group == group}

    def plain() -> None:
        if summary is None:
            out.print("No canary runs: start one with `streamflow canary start`")
            return
        table(list(summary), [list(summary.values())])
        table(["topic", "backlog"], list(backlog.items()))

    emit(output, {"job": summary, "backlog": backlog}, plain)


@app.command("compare")
def compare_command(
    *,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help=f"another limit than the default; defaults: {_limits_text()}"),
    ] = None,
    watch: Annotated[
        float,
        typer.Option("--for", min=0.0, metavar="SECONDS", help="repeat for this time, until the verdict is return"),
    ] = 0.0,
    end_on_return: Annotated[
        bool, typer.Option("--end-on-return", help="end the canary if the verdict is return")
    ] = False,
    since_ms: Annotated[
        int | None,
        typer.Option(help="read decisions from this time on (ms since 1970); default: the start of the canary"),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(min=0, help="restarts of the canary; default: ask Flink, which a cluster may not let you reach"),
    ] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Compare the canary with the running detector, record by record, and decide by the limits.

    Exit code 0: pass; 3: return, at least one limit is exceeded; 4: unknown, for example too few records. The report is
    written to STREAMFLOW_REPORT_DIR. Records that the two scored under different rules or actions are not compared.

    Example: streamflow canary compare --for 900 --end-on-return --limit equal_share=0.98
    """
    from flink_jobs.canary.running import CanaryRecord, compare_with_running
    from flink_jobs.flink.rest import FlinkRest

    settings, limits = load_settings(), limits_of(limit or [])
    rest = FlinkRest(settings.flink_rest_url)
    record = CanaryRecord.load(settings.report_dir)
    since = since_ms if since_ms is not None or record is None else record.since_ms
    until = time.monotonic() + watch
    while True:
        result = compare_with_running(settings, rest, limits, since, restarts)
        if result.verdict == "return" or time.monotonic() >= until:
            break
        time.sleep(min(PAUSE_S, max(0.0, until - time.monotonic())))
    _report(settings, result, limits, output)
    if result.verdict == "return" and end_on_return:
        _end(settings, rest)
        say("The canary has ended; the running detector was not touched.")
    if result.verdict != "pass":
        raise typer.Exit(RETURN_EXIT if result.verdict == "return" else UNKNOWN_EXIT)


def _report(settings: Settings, result: Comparison, limits: Limits, output: Output) -> None:
    """Write the report and print it."""
    at = datetime.now(UTC)
    value = {"compared_at": at.isoformat(timespec="seconds"), "limits": asdict(limits), **result.as_dict()}
    path = settings.report_dir / f"canary-{at:%Y%m%dT%H%M%SZ}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        say(f"The report is not stored: {error}")
    value["report"] = str(path)

    def plain() -> None:
        rows = [
            [item.name, _shown(item.value), _shown(item.limit), item.verdict, item.detail] for item in result.checks
        ]
        table(["check", "value", "limit", "verdict", "detail"], rows)
        out.print(", ".join(f"{name}: {number:,}" for name, number in result.counts.items()), soft_wrap=True)
        out.print(f"Verdict: {result.verdict}. Report: {path}", soft_wrap=True)

    emit(output, value, plain)


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


@app.command()
def end(*, output: OutputOption = Output.PLAIN) -> None:
    """End the canary and delete its topics, consumer group and checkpoints; reports and the savepoint are kept."""
    from flink_jobs.flink.rest import FlinkRest

    settings = load_settings()
    job_id, topics = _end(settings, FlinkRest(settings.flink_rest_url))
    ended = f"Job {job_id} is cancelled" if job_id else "No canary was running"
    emit(output, {"job": job_id, "topics": topics}, lambda: out.print(f"{ended}; {len(topics)} topics are deleted"))


def _end(settings: Settings, rest: FlinkRest) -> tuple[str | None, list[str]]:
    from flink_jobs.canary.running import find_canary, remove

    job = find_canary(rest, settings.topic_prefix)
    if job is not None:
        rest.cancel(job.job_id)
    return (None if job is None else job.job_id), remove(settings, None if job is None else job.job_id)
