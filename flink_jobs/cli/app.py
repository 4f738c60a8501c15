"""The `streamflow` command: wiring only.

To add a command, write a function with typer annotations (or a ``typer.Typer`` with subcommands) in a module of this
package and add one line to ``COMMANDS``. The module is imported when the command is called, not before.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flink_jobs.cli.failures import run_reporting_errors, wants_json
from flink_jobs.cli.lazy import Lazy, LazyGroup

STACK, JOB, TRAFFIC, DATA = "The local stack", "The job", "Card traffic", "Model, rules and data"

COMMANDS = {
    "demo": Lazy(
        "flink_jobs.cli.demo_command", "demo", "Start everything, send card traffic, watch decisions live.", STACK
    ),
    "up": Lazy("flink_jobs.cli.stack_commands", "up", "Start Postgres, Kafka and Flink on this machine.", STACK),
    "down": Lazy("flink_jobs.cli.stack_commands", "down", "Stop what `up` started.", STACK),
    "status": Lazy(
        "flink_jobs.cli.stack_commands", "status", "Show processes, ports, jobs, checkpoints and lag.", STACK
    ),
    "migrate": Lazy(
        "flink_jobs.cli.migrate_command", "migrate", "Bring a Postgres of your own to date: roles, tables.", STACK
    ),
    "submit": Lazy("flink_jobs.cli.job_commands", "submit", "Start the detector and the archive job on Flink.", JOB),
    "jobs": Lazy("flink_jobs.cli.job_commands", "jobs", "List Flink's jobs.", JOB),
    "savepoint": Lazy("flink_jobs.cli.savepoint_commands", "app", "Take savepoints, and see what is in them.", JOB),
    "cancel": Lazy("flink_jobs.cli.job_commands", "cancel", "End a job without a savepoint.", JOB),
    "replay": Lazy("flink_jobs.cli.traffic_commands", "replay", "Send card transactions from a file.", TRAFFIC),
    "simulate": Lazy(
        "flink_jobs.cli.traffic_commands", "simulate", "Send seeded card traffic with planted fraud.", TRAFFIC
    ),
    "train": Lazy("flink_jobs.cli.train_command", "train", "Train the model and write its artifact.", DATA),
    "evaluate": Lazy(
        "flink_jobs.cli.evaluate_command", "evaluate", "Judge models and rules on a labelled card file.", DATA
    ),
    "backtest": Lazy(
        "flink_jobs.cli.backtest_command", "backtest", "Try other rules or another model on history.", DATA
    ),
    "drift": Lazy("flink_jobs.cli.drift_command", "drift", "Tell whether a model should be trained again.", DATA),
    "precision": Lazy(
        "flink_jobs.cli.precision_command", "precision", "Show how right alerts were, by reason and by model.", DATA
    ),
    "model": Lazy(
        "flink_jobs.cli.model_commands", "app", "Register, promote, roll back and look at model versions.", DATA
    ),
    "experiment": Lazy(
        "flink_jobs.cli.experiment_commands", "app", "Let a challenger decide for some customers, guarded.", DATA
    ),
    "label": Lazy("flink_jobs.cli.label_command", "label", "Say of transactions whether they were fraud.", DATA),
    "explain": Lazy("flink_jobs.cli.explain_command", "explain", "Tell why a transaction was decided as it was.", DATA),
    "control": Lazy(
        "flink_jobs.cli.control_commands", "app", "Change rules, thresholds and blacklists without restart.", DATA
    ),
    "marts": Lazy("flink_jobs.cli.marts_command", "marts", "Build the gold marts and the analyst's page.", DATA),
    "completeness": Lazy(
        "flink_jobs.cli.completeness_command",
        "completeness",
        "Compare Kafka's offsets with the rows in Postgres.",
        DATA,
    ),
    "marts-exporter": Lazy(
        "flink_jobs.cli.marts_exporter_command", "marts_exporter", "Show Prometheus how the warehouse is.", DATA
    ),
    "airflow": Lazy("flink_jobs.cli.airflow_commands", "app", "Start and stop Airflow with the DAGs.", DATA),
    "dlq": Lazy("flink_jobs.cli.dlq_commands", "app", "List, count, show and redrive dead letters.", DATA),
}


class _App(LazyGroup):
    table = COMMANDS


app = typer.Typer(
    cls=_App, no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
)


@app.callback()
def root(
    *,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show stack traces of errors.", envvar="STREAMFLOW_DEBUG")
    ] = False,
) -> None:
    """StreamFlow: real-time card-fraud detection on Apache Flink.

    A first look: `streamflow up`, `streamflow submit`, `streamflow simulate`, `streamflow status`, `streamflow down`.
    Settings come from STREAMFLOW_* variables and from the stack's own stack.env; STREAMFLOW_HOME chooses the stack.
    """
    if debug:
        os.environ["STREAMFLOW_DEBUG"] = "1"


def main() -> None:
    """Run the command line; an error ends with one line and exit code 2, Ctrl-C with 130."""
    run_reporting_errors(app, as_json=wants_json(sys.argv[1:]))
