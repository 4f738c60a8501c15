"""``streamflow experiment``: tests a challenger model on a share of the customers, with a guard."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.actor import ByOption, ReasonOption, change_reason
from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.core.control.experiment import Experiment, GuardBand
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.model_registry.experiments import ExperimentStatus

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="A/B test: a challenger model scores a share of the customers; a guard in the job can end the experiment.",
)
WAIT_S = 60.0
Wait = Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="longest wait for the answer of the running job")]
_BAND = GuardBand()


@app.command()
def start(
    version: Annotated[str, typer.Argument(help="registered model version: the challenger")],
    experiment_id: Annotated[
        str, typer.Option("--id", help="name of the experiment; it also seeds the choice of customers")
    ],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="share of the customers that the challenger scores")],
    reason: ReasonOption,
    min_decisions: Annotated[
        int,
        typer.Option(min=20, max=100_000, help="guard: decisions per model and subtask before it compares alert rates"),
    ] = _BAND.min_decisions,
    max_alert_rate_ratio: Annotated[
        float, typer.Option(help="guard: largest ratio of the challenger's alert rate to the champion's")
    ] = _BAND.max_alert_rate_ratio,
    min_alert_rate_ratio: Annotated[
        float, typer.Option(help="guard: smallest ratio of the challenger's alert rate to the champion's")
    ] = _BAND.min_alert_rate_ratio,
    max_error_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="guard: largest share of transactions on which the challenger fails")
    ] = _BAND.max_error_share,
    by: ByOption = None,
    wait: Wait = WAIT_S,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Start an experiment on the running job. If a limit of the guard is exceeded, the job ends the experiment."""
    from flink_jobs.model_registry.experiments import start_experiment
    from flink_jobs.model_registry.versions import open_registry

    settings = load_settings()
    with open_registry(settings.postgres_dsn) as registry:
        digest = registry.get(version).digest
    band = GuardBand(min_decisions, max_alert_rate_ratio, min_alert_rate_ratio, max_error_share)
    experiment = Experiment(experiment_id, version, digest, share, band)
    control_id = start_experiment(settings, experiment, change_reason(by, reason), _now_ms(), wait)
    started = f"{version} scores {share:.1%} of the customers ({control_id})"
    emit(output, {"experiment": asdict(experiment), "control_id": control_id}, lambda: out.print(started))


@app.command()
def stop(
    reason: ReasonOption, by: ByOption = None, wait: Wait = WAIT_S, *, output: OutputOption = Output.PLAIN
) -> None:
    """End the running experiment: the champion then scores all customers."""
    from flink_jobs.model_registry.experiments import stop_experiment

    ended, control_id = stop_experiment(load_settings(), change_reason(by, reason), _now_ms(), wait)
    emit(
        output,
        {"experiment": ended, "control_id": control_id},
        lambda: out.print(f"Experiment {ended} has ended ({control_id})"),
    )


@app.command()
def status(*, output: OutputOption = Output.PLAIN) -> None:
    """Show the results of the latest experiment, and why it ended."""
    from flink_jobs.model_registry.experiments import experiment_status

    found = experiment_status(load_settings())
    if found is None:
        raise UserError("there is no experiment", "start one with `streamflow experiment start`")
    emit(output, {**asdict(found), "ended_by_guard": found.ended_by_guard}, lambda: _print(found))


def _print(found: ExperimentStatus) -> None:
    experiment = found.experiment
    state = "running" if found.is_on else f"ended by {found.ended_by}: {found.why_ended}"
    share = f"{experiment['share']:.1%} of the customers"
    out.print(f"{experiment['id']}: {experiment['version']} scores {share}; {state}", soft_wrap=True)
    rows = [
        [row.variant, row.model_version, row.decisions, row.alerts,
         f"{row.alerts / row.decisions:.2%}", row.labelled_alerts, row.frauds_found, row.frauds]
        for row in found.by_variant
    ]  # fmt: skip
    columns = ["variant", "name", "decisions", "alerts", "alert rate", "labelled alerts", "frauds found", "frauds"]
    table(columns, rows)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
