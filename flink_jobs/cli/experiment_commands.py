"""`streamflow experiment`: let a challenger decide for a share of the customers, watched by a guard."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.actor import By, Why, why_of
from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.core.control.experiment import Experiment, GuardBand
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.model_registry.experiments import ExperimentStatus

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="A/B test: a challenger decides for a share of the customers; a guard in the job returns to the champion.",
)
WAIT_S = 60.0
Wait = Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="wait so long for the running job's answer")]
_BAND = GuardBand()


@app.command()
def start(
    version: Annotated[str, typer.Argument(help="registered model version that is the challenger")],
    experiment_id: Annotated[str, typer.Option("--id", help="name of the experiment; also the salt of the split")],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="share of the customers")],
    reason: Why,
    min_decisions: Annotated[
        int, typer.Option(min=20, max=100_000, help="decisions of each model, per subtask, before rates are compared")
    ] = _BAND.min_decisions,
    max_alert_rate_ratio: Annotated[
        float, typer.Option(help="alert rate of the challenger over the champion's, at most")
    ] = _BAND.max_alert_rate_ratio,
    min_alert_rate_ratio: Annotated[float, typer.Option(help="and at least")] = _BAND.min_alert_rate_ratio,
    max_error_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="share of events on which it may fail")
    ] = _BAND.max_error_share,
    by: By = None,
    wait: Wait = WAIT_S,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start an experiment on the running job."""
    from flink_jobs.model_registry.experiments import start_experiment
    from flink_jobs.model_registry.versions import open_registry

    settings = load_settings()
    with open_registry(settings.postgres_dsn) as registry:
        digest = registry.get(version).digest
    band = GuardBand(min_decisions, max_alert_rate_ratio, min_alert_rate_ratio, max_error_share)
    experiment = Experiment(experiment_id, version, digest, share, band)
    control_id = start_experiment(settings, experiment, why_of(by, reason), _now_ms(), wait)
    told = f"{version} decides for {share:.1%} of the customers ({control_id})"
    emit(output, {"experiment": asdict(experiment), "control_id": control_id}, lambda: out.print(told))


@app.command()
def stop(reason: Why, by: By = None, wait: Wait = WAIT_S, *, output: OutputOption = Output.PLAIN) -> None:
    """End the experiment that is on: the champion decides for everyone."""
    from flink_jobs.model_registry.experiments import stop_experiment

    ended, control_id = stop_experiment(load_settings(), why_of(by, reason), _now_ms(), wait)
    emit(output, {"experiment": ended, "control_id": control_id}, lambda: out.print(f"{ended} is over ({control_id})"))


@app.command()
def status(*, output: OutputOption = Output.PLAIN) -> None:
    """Show how the latest experiment goes, or why it ended."""
    from flink_jobs.model_registry.experiments import experiment_status

    found = experiment_status(load_settings())
    if found is None:
        raise UserError("there was no experiment yet", "start one with `streamflow experiment start`")
    emit(output, {**asdict(found), "ended_by_guard": found.ended_by_guard}, lambda: _print(found))


def _print(found: ExperimentStatus) -> None:
    told = found.experiment
    state = "is on" if found.is_on else f"was ended by {found.ended_by}: {found.why_ended}"
    out.print(f"{told['id']}: {told['version']} for {told['share']:.1%} of the customers; it {state}", soft_wrap=True)
    rows = [
        [row.variant, row.model_version, row.decisions, row.alerts,
         f"{row.alerts / row.decisions:.2%}", row.labelled_alerts, row.frauds_found, row.frauds]
        for row in found.by_variant
    ]  # fmt: skip
    columns = ["variant", "name", "decisions", "alerts", "alert rate", "labelled", "frauds found", "of"]
    table(columns, rows)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
