"""``streamflow audit``: the record of who read customer data."""

from __future__ import annotations

from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out
from flink_jobs.settings import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The record of reads of customer data.")
BROKEN_EXIT = 3


@app.callback()
def _group() -> None:
    """Keep ``verify`` a subcommand although it is the only one."""


@app.command()
def verify(
    expect: Annotated[
        str | None, typer.Option(metavar="HASH", help="head of an earlier verification, which must be in the chain")
    ] = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Recompute the hash chain of api.reads and print its head.

    Exit code 0: the chain is unbroken; 3: a row was changed, inserted or deleted. Rows deleted at the end are found
    only with --expect and a head that was noted outside the database.

    Example: streamflow audit verify --expect 3f6a...
    """
    from api.reads import verify_reads

    report = verify_reads(load_settings().postgres_dsn, expect)
    verdict = report.problem or f"{report.rows} reads, unbroken; head {report.head}"
    value = {"rows": report.rows, "head": report.head, "problem": report.problem}
    emit(output, value, lambda: out.print(verdict, soft_wrap=True))
    if report.problem is not None:
        raise typer.Exit(BROKEN_EXIT)
