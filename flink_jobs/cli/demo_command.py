"""``streamflow demo``: starts the whole system, sends card traffic, and reconciles every record at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, err, out, print_json, say
from flink_jobs.cli.stack_commands import Secure
from flink_jobs.demo.plan import EVENTS, FAULTS, RATE, DemoPlan
from flink_jobs.kafka.pacing import parse_pace
from flink_jobs.traffic.faults import FaultPlan

if TYPE_CHECKING:
    from flink_jobs.demo.demonstration import Audience
    from flink_jobs.demo.screen import View
    from flink_jobs.demo.summary import Summary

Events = Annotated[
    int | None,
    typer.Option(min=1, help=f"good transactions to send (default: {EVENTS:,}); with this option the demo then ends"),
]
Rate = Annotated[
    float | None, typer.Option(help=f"records per second; default: the throughput of the job, up to {RATE:,.0f}")
]
Speed = Annotated[str | None, typer.Option(help="instead of --rate: multiple of event time, such as 20000x, or max")]
Malformed = Annotated[float, typer.Option(min=0.0, max=0.9, help="share of all records that are malformed")]
Duplicates = Annotated[float, typer.Option(min=0.0, max=0.9, help="share of all records that are redelivered")]
Late = Annotated[float, typer.Option(min=0.0, max=1.0, help="share of the good transactions that arrive late")]
MetricsPort = Annotated[
    int, typer.Option(min=0, max=65535, help="serve the sender's Prometheus metrics on this port; 0: no metrics")
]
NoTty = Annotated[bool, typer.Option("--no-tty", help="print plain lines; the default if the output is no terminal")]
Keep = Annotated[bool, typer.Option("--keep", help="leave everything running at the end")]


def demo(
    events: Events = None,
    rate: Rate = None,
    speed: Speed = None,
    malformed: Malformed = FAULTS.malformed,
    duplicates: Duplicates = FAULTS.duplicates,
    late: Late = FAULTS.late,
    metrics_port: MetricsPort = 0,
    *,
    no_tty: NoTty = False,
    keep: Keep = False,
    secure: Secure = None,
    console: Annotated[
        bool | None,
        typer.Option(
            "--console/--no-console", help="start the API with the console; default: if the demo stays or with --keep"
        ),
    ] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start everything, send card transactions with planted faults, watch decisions live, account for every record.

    The demo starts Postgres, Kafka and Flink if they do not run, trains the model if there is none, and submits both
    jobs with `flink run`. On a terminal the stack runs until Ctrl-C, so that you can look around; with --events or
    --no-tty, or without a terminal, the demo ends by itself. It stops only what it started.

    Exit code 0: sent = decided + rejected + duplicates, record by record, in Kafka and in Postgres; 1: not.

    For example:

      streamflow demo --events 3000 --no-tty

      streamflow demo --rate 500 --keep
    """
    from flink_jobs.demo.demonstration import run_demo

    is_live = sys.stdout.isatty() and err.is_terminal and not no_tty
    stays = is_live and events is None and not keep
    plan = DemoPlan(
        events=events or EVENTS,
        pace=None if rate is None and speed is None else parse_pace(speed, rate),
        faults=FaultPlan(malformed, duplicates, late, seed=FAULTS.seed),
        keep=keep,
        secure=secure,
        console=stays or keep if console is None else console,
        stay=stays,
    )
    model_dir = os.environ.get("STREAMFLOW_MODEL_DIR")
    audience = _audience(metrics_port, is_live=is_live, prints=output is Output.PLAIN)
    summary = run_demo(plan, audience, Path(model_dir) if model_dir else None)
    if output is Output.JSON:
        print_json({**summary.as_dict(), "exit_code": summary.exit_code})
    raise typer.Exit(summary.exit_code)


def _audience(metrics_port: int, *, is_live: bool, prints: bool) -> Audience:
    """Return the outputs of the demo: progress messages, view, summary and metrics."""
    from flink_jobs.demo.demonstration import Audience
    from flink_jobs.demo.screen import LineView, LiveView
    from flink_jobs.traffic.sender_metrics import TrafficMetrics

    metrics = TrafficMetrics()
    metrics.serve(metrics_port)

    def view(flink_ui: str) -> View:
        return LiveView(err, flink_ui) if is_live else LineView(say)

    def report(summary: Summary, stack_runs: bool) -> None:  # noqa: FBT001 - the signature is the demo's
        if prints:
            _print(summary, stack_runs=stack_runs)

    return Audience(say, view, report, metrics)


def _print(summary: Summary, *, stack_runs: bool) -> None:
    verdict = "Every record is accounted for." if summary.is_balanced else "NOT EVERY RECORD IS ACCOUNTED FOR."
    for text in ("", *summary.lines(), verdict, "", *summary.next_steps(stack_runs=stack_runs)):
        out.print(text, soft_wrap=True, markup=False)
