"""`streamflow demo`: everything at once, with an account at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, err, out, print_json, say
from flink_jobs.demo.plan import EVENTS, FAULTS, RATE, DemoPlan
from flink_jobs.kafka.pacing import Pace, parse_pace
from flink_jobs.traffic.faults import FaultPlan

if TYPE_CHECKING:
    from flink_jobs.demo.screen import View
    from flink_jobs.demo.summary import Summary

Share = Annotated[float, typer.Option(min=0.0, max=0.9, help="share of all records sent")]


def demo(
    events: Annotated[
        int | None, typer.Option(min=1, help=f"good transactions to send, {EVENTS:,} by default; then the demo ends")
    ] = None,
    rate: Annotated[float | None, typer.Option(help=f"records per second; default: {RATE:,.0f}")] = None,
    speed: Annotated[str | None, typer.Option(help="instead: multiple of event time, such as 20000x, or max")] = None,
    malformed: Share = FAULTS.malformed,
    duplicates: Share = FAULTS.duplicates,
    late: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="share of the good ones that are held back")
    ] = FAULTS.late,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="show Prometheus metrics of the sender there; 0: do not")
    ] = 0,
    *,
    no_tty: Annotated[
        bool, typer.Option("--no-tty", help="plain lines; the default where the output is no terminal")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="leave everything running at the end")] = False,
    secure: Annotated[
        bool | None,
        typer.Option("--secure/--no-secure", help="as with `up`: TLS, log-ins and rights; default: as it was last"),
    ] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start everything, send card transactions with faults mixed in, watch decisions live, account for every event.

    Postgres, Kafka and Flink start unless they run, the model is trained unless it is, both jobs are submitted with
    `flink run`. On a terminal the stack then runs on until Ctrl-C, for you to look around; with --events, --no-tty or
    without a terminal the demo ends by itself. At its end it stops what it started, and nothing else.

    Exit code 0 if sent = decided + rejected + duplicates, record by record, in Kafka and in Postgres; 1 if not.

    For example:

      streamflow demo --events 3000 --no-tty

      streamflow demo --rate 500 --keep
    """
    from flink_jobs.demo.demonstration import Audience, run_demo
    from flink_jobs.demo.screen import LineView, LiveView
    from flink_jobs.traffic.sender_metrics import TrafficMetrics

    is_live = sys.stdout.isatty() and err.is_terminal and not no_tty
    plan = DemoPlan(
        events=events or EVENTS,
        pace=Pace(rate=RATE) if rate is None and speed is None else parse_pace(speed, rate),
        faults=FaultPlan(malformed, duplicates, late, seed=FAULTS.seed),
        keep=keep,
        secure=secure,
        stay=is_live and events is None and not keep,
    )
    metrics = TrafficMetrics()
    metrics.serve(metrics_port)

    def view(flink_ui: str) -> View:
        return LiveView(err, flink_ui) if is_live else LineView(say)

    def report(summary: Summary, stack_runs: bool) -> None:  # noqa: FBT001 - the signature is the demo's
        if output is Output.PLAIN:
            _print(summary, stack_runs=stack_runs)

    model_dir = os.environ.get("STREAMFLOW_MODEL_DIR")
    summary = run_demo(plan, Audience(say, view, report, metrics), Path(model_dir) if model_dir else None)
    if output is Output.JSON:
        print_json({**summary.as_dict(), "exit_code": summary.exit_code})
    raise typer.Exit(summary.exit_code)


def _print(summary: Summary, *, stack_runs: bool) -> None:
    verdict = "Every record is accounted for." if summary.is_balanced else "THE ACCOUNT DOES NOT BALANCE."
    for text in ("", *summary.lines(), verdict, "", *summary.next_steps(stack_runs=stack_runs)):
        out.print(text, soft_wrap=True, markup=False)
