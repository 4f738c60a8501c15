"""``streamflow airflow``: Airflow with the DAGs of the warehouse, on the local stack."""

from __future__ import annotations

import time

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say
from flink_jobs.local.airflow import NAME, Airflow
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.warehouse.dbt_project import Dbt
from flink_jobs.warehouse.paths import DBT_PROJECT

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Start and stop Airflow with the DAGs of the warehouse."
)


@app.command()
def up(*, output: OutputOption = Output.PLAIN) -> None:
    """Start Postgres and Airflow; the DAGs start with the days that are due, and each DAG starts the next.

    The DAGs need rows in the raw tables, for example those of `make demo`; they do not need Kafka or Flink.
    """
    started = time.monotonic()
    stack = Stack(say=say)
    settings = stack.up(["postgres"])
    Dbt(settings, DBT_PROJECT / "target", say).run("parse")
    say("Starting Airflow (a minute or two) ...")
    stack.up(["postgres", "airflow"])
    url = Airflow(stack.record.ports[NAME]).url
    dags = sorted(path.stem for path in (REPO_ROOT / "dags").glob("*.py"))
    say(f"Up in {time.monotonic() - started:.0f} s. Stop it with `streamflow airflow down`.")
    emit(output, {"url": url, "dags": dags}, lambda: out.print(f"Airflow: {url}\nDAGs: {', '.join(dags)}"))


@app.command()
def down() -> None:
    """Stop Airflow and no other process of the stack."""
    stack = Stack(say=say)
    say("Stopped Airflow." if stack.stop(NAME) else "Airflow was not running.")
