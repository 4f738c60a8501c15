"""The ``streamflow`` command: the table of its subcommands.

To add a command, write a function with typer annotations (or a ``typer.Typer`` with subcommands) in a module of this
package and add one line to ``COMMANDS``. The module is imported only when the command is called.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flink_jobs.cli.failures import run_reporting_errors, wants_json
from flink_jobs.cli.lazy import Lazy, LazyGroup

STACK, JOB, TRAFFIC, DATA = "Local stack", "Flink jobs", "Card traffic", "Models, rules and data"

COMMANDS = {
    "demo": Lazy(
        "flink_jobs.cli.demo_command", "demo", "Start everything, send card traffic, watch decisions live.", STACK
    ),
    "up": Lazy("flink_jobs.cli.stack_commands", "up", "Start Postgres, Kafka and Flink on this machine.", STACK),
    "down": Lazy("flink_jobs.cli.stack_commands", "down", "Stop the processes that `up` started.", STACK),
    "status": Lazy(
        "flink_jobs.cli.stack_commands", "status", "Show processes, ports, jobs, checkpoints and consumer lag.", STACK
    ),
    "migrate": Lazy(
        "flink_jobs.cli.migrate_command", "migrate", "Create or update roles and tables in your own Postgres.", STACK
    ),
    "submit": Lazy("flink_jobs.cli.job_commands", "submit", "Start the detector and the archive job on Flink.", JOB),
    "canary": Lazy("flink_jobs.cli.canary_commands", "app", "Try a new detector beside the running one.", JOB),
    "jobs": Lazy("flink_jobs.cli.job_commands", "jobs", "List the Flink jobs.", JOB),
    "savepoint": Lazy("flink_jobs.cli.savepoint_commands", "app", "Take, list, inspect and clean savepoints.", JOB),
    "cancel": Lazy("flink_jobs.cli.job_commands", "cancel", "Stop a job without a savepoint.", JOB),
    "inspect": Lazy(
        "flink_jobs.cli.inspect_command",
        "inspect",
        "Propose a mapping for a card file and count its bad rows.",
        TRAFFIC,
    ),
    "replay": Lazy("flink_jobs.cli.traffic_commands", "replay", "Send card transactions from a file.", TRAFFIC),
    "simulate": Lazy(
        "flink_jobs.cli.traffic_commands", "simulate", "Send simulated card traffic with planted fraud.", TRAFFIC
    ),
    "generate": Lazy(
        "flink_jobs.cli.generate_command", "generate", "Write card data with terminal and card fraud.", DATA
    ),
    "sanity": Lazy(
        "flink_jobs.cli.sanity_command", "sanity", "Warn about data that makes a model look too good.", DATA
    ),
    "features": Lazy(
        "flink_jobs.cli.features_command", "features", "Write features and labels for a model of your own.", DATA
    ),
    "own-features": Lazy(
        "flink_jobs.cli.own_features_commands", "app", "Show and check your own features for models.", DATA
    ),
    "train": Lazy("flink_jobs.cli.train_command", "train", "Train a model and write its artifact.", DATA),
    "evaluate": Lazy("flink_jobs.cli.evaluate_command", "evaluate", "Measure models and rules on labelled data.", DATA),
    "backtest": Lazy(
        "flink_jobs.cli.backtest_command", "backtest", "Test other rules or another model on past data.", DATA
    ),
    "drift": Lazy("flink_jobs.cli.drift_command", "drift", "Check whether a model must be retrained.", DATA),
    "precision": Lazy(
        "flink_jobs.cli.precision_command", "precision", "Show the precision of alerts by reason and by model.", DATA
    ),
    "model": Lazy(
        "flink_jobs.cli.model_commands", "app", "Register, promote, roll back and list model versions.", DATA
    ),
    "experiment": Lazy(
        "flink_jobs.cli.experiment_commands", "app", "Test a challenger model on a share of the customers.", DATA
    ),
    "label": Lazy("flink_jobs.cli.label_command", "label", "Label transactions as fraud or genuine.", DATA),
    "account": Lazy("flink_jobs.cli.account_commands", "app", "Block, allow or watch a customer.", DATA),
    "explain": Lazy("flink_jobs.cli.explain_command", "explain", "Explain the decision on one transaction.", DATA),
    "control": Lazy(
        "flink_jobs.cli.control_commands", "app", "Change rules, thresholds and blacklists without restart.", DATA
    ),
    "marts": Lazy("flink_jobs.cli.marts_command", "marts", "Build the marts and the analyst's page.", DATA),
    "completeness": Lazy(
        "flink_jobs.cli.completeness_command",
        "completeness",
        "Check that Postgres holds every record of Kafka.",
        DATA,
    ),
    "lake": Lazy("flink_jobs.cli.lake_commands", "app", "Check the lake's files and merge small ones.", DATA),
    "retention": Lazy(
        "flink_jobs.cli.retention_command", "retention", "Show or delete rows that are due for deletion.", DATA
    ),
    "backup": Lazy("flink_jobs.cli.backup_commands", "app", "Take, verify and restore backups of the database.", DATA),
    "marts-exporter": Lazy(
        "flink_jobs.cli.marts_exporter_command", "marts_exporter", "Serve the warehouse's metrics to Prometheus.", DATA
    ),
    "api": Lazy("flink_jobs.cli.api_commands", "app", "Serve the HTTP API and manage its keys.", DATA),
    "console": Lazy("flink_jobs.cli.console_commands", "app", "Log in to the console and manage its accounts.", DATA),
    "audit": Lazy("flink_jobs.cli.audit_commands", "app", "Verify the record of reads of customer data.", DATA),
    "airflow": Lazy("flink_jobs.cli.airflow_commands", "app", "Start and stop Airflow with the DAGs.", DATA),
    "schemas": Lazy("flink_jobs.cli.schema_commands", "app", "Write and check the Avro schemas of the topics.", DATA),
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

    First steps: `streamflow up`, `streamflow submit`, `streamflow simulate`, `streamflow status`, `streamflow down`.
    Settings come from STREAMFLOW_* variables and from the file stack.env in the stack's folder, STREAMFLOW_HOME.
    With --output json, errors are one JSON object on standard error: {"error": {"code", "message", "hint"}}.
    """
    if debug:
        os.environ["STREAMFLOW_DEBUG"] = "1"


def main() -> None:
    """Run the command line; an error ends with one line and exit code 2, Ctrl-C with 130."""
    run_reporting_errors(app, as_json=wants_json(sys.argv[1:]))
