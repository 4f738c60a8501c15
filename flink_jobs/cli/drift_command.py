"""``streamflow drift``: compares the data a model scores today with the data of its training."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.times import moment_ms, shown
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.postgres_settings import load_postgres_settings
from flink_jobs.settings import Settings

if TYPE_CHECKING:
    from ml.drift.check import DriftCheck
    from ml.drift.drift_run import Watch

RETRAIN_EXIT, UNKNOWN_EXIT = 3, 4

Version = Annotated[str | None, typer.Option(help="model version to check; default: that of the decision loaded last")]
WindowStart = Annotated[
    str | None, typer.Option("--since", help="first event time: 7d, or 2024-03-01T00:00Z; default: see --days")
]
WindowEnd = Annotated[
    str | None, typer.Option("--until", help="event time at which the window ends; default: the newest event")
]
Days = Annotated[float, typer.Option(min=0.01, help="length of the window in days, without --since")]
MinRows = Annotated[int, typer.Option(min=1, help="smallest number of decisions for a verdict")]
MaxAge = Annotated[
    float, typer.Option(min=0.01, help="age of the training data that requires retraining; a third of it: watch")
]
ModelFolder = Annotated[
    Path | None, typer.Option("--models", help="folder of the model versions; default: STREAMFLOW_MODEL_DIR")
]
ServePort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="PORT", help="check repeatedly and serve Prometheus metrics on this port"),
]
Every = Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="with --serve: pause between checks")]
Once = Annotated[bool, typer.Option("--once", help="check once and end; the default without --serve")]


def drift(
    model: Version = None,
    since: WindowStart = None,
    until: WindowEnd = None,
    days: Days = 7.0,
    min_rows: MinRows = 500,
    max_age_days: MaxAge = 90.0,
    models: ModelFolder = None,
    serve: ServePort = None,
    every: Every = 300.0,
    *,
    once: Once = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Compare the features and scores of recent decisions with those of the model's training data.

    Every check is recorded in ops.model_drift. Exit code 0: stable or watch; 3: retrain; 4: unknown, because there are
    too few decisions.

    Example: streamflow drift --once --output json
    """
    from ml.drift.check import DriftVerdict, Thresholds
    from ml.drift.drift_run import Watch

    if once and serve is not None:
        raise UserError("--once and --serve exclude each other", "leave one of them out", ErrorCode.USAGE_ERROR)
    settings, now_ms = load_postgres_settings(), time.time_ns() // 1_000_000
    watch = Watch(
        model_dir=models or settings.model_dir,
        version=model,
        since_ms=None if since is None else moment_ms(since, "--since", now_ms),
        until_ms=None if until is None else moment_ms(until, "--until", now_ms),
        days=days,
        thresholds=Thresholds(min_rows=min_rows, age_days=(max_age_days / 3.0, max_age_days)),
    )
    if serve is not None:
        _serve(settings, watch, serve, every)
        return
    check = _check(settings, watch)
    emit(output, _document(check), lambda: _print(check))
    if check.verdict is DriftVerdict.RETRAIN:
        raise typer.Exit(RETRAIN_EXIT)
    if check.verdict is DriftVerdict.UNKNOWN:
        raise typer.Exit(UNKNOWN_EXIT)


def _check(settings: Settings, watch: Watch) -> DriftCheck:
    from ml.drift.drift_run import run_check
    from ml.history.connection import warehouse

    with warehouse(settings.postgres_dsn) as connection:
        return run_check(connection, watch, datetime.now(UTC))


def _serve(settings: Settings, watch: Watch, port: int, every: float) -> None:
    from flink_jobs.metrics.exposition import serve_metrics
    from ml.drift.drift_metrics import DriftMetrics

    metrics = DriftMetrics()
    serve_metrics(metrics.registry, port, "--serve", settings.metrics_host)
    address = f"http://{settings.metrics_host}:{port}/metrics"
    say(f"Metrics are on {address}; a check runs every {every:g} s. Press Ctrl-C to stop.")
    while True:
        try:
            check = _check(settings, watch)
        except UserError as problem:  # a restart of the database must not end the command
            say(f"the check failed: {problem.what}")
        else:
            metrics.show(check, time.time())
            say(f"{check.observed.model_version}: {check.verdict}" + "".join(f"; {why}" for why in check.reasons))
        time.sleep(every)


def _document(check: DriftCheck) -> dict[str, Any]:
    observed = check.observed
    return {
        "verdict": check.verdict,
        "reasons": list(check.reasons),
        "model_version": observed.model_version,
        "since": shown(observed.since_ms),
        "until": shown(observed.until_ms),
        "decisions": observed.rows,
        "alerts": observed.alerts,
        "measures": [asdict(one) for one in check.measures],
    }


def _print(check: DriftCheck) -> None:
    observed = check.observed
    out.print(
        f"Model {observed.model_version}: {observed.rows:,} decisions from {shown(observed.since_ms)} to "
        f"{shown(observed.until_ms)}",
        markup=False,
        soft_wrap=True,
    )
    rows = [
        [
            one.subject,
            one.measure,
            _number(one.value),
            _number(one.watch_at),
            _number(one.act_at),
            one.level,
            one.detail,
        ]
        for one in check.measures
    ]
    table(["subject", "measure", "value", "watch at", "act at", "level", "detail"], rows)
    out.print(f"Verdict: {check.verdict}", markup=False)
    for why in check.reasons:
        out.print(f"  {why}", markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3g}"
