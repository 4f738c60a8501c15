"""``streamflow migrate``: creates and updates roles and tables in Postgres, and undoes migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import Settings, load_settings


def migrate(
    *,
    airflow_password_file: Annotated[
        Path | None,
        typer.Option(help="also create Airflow's own database, and its role with the password in this file"),
    ] = None,
    topics: Annotated[bool, typer.Option("--topics", help="also create the missing Kafka topics")] = False,
    replicas: Annotated[int, typer.Option(min=1, help="replication factor of new topics")] = 1,
    undo_to: Annotated[
        int | None, typer.Option(min=0, metavar="NNNN", help="undo all migrations after this one, and do nothing else")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="with --undo-to: check only, change nothing")] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Create and update the roles, their passwords, tables and partitions in the Postgres of the settings.

    Use it for your own Postgres; `streamflow up` migrates the local one by itself. Run it before every release: it
    applies only new migrations.

    `--undo-to` is the way back before an older release starts. Stop the jobs and the API first, and run it with the
    release that applied the migrations. It refuses an undo that would lose rows, and names them.
    """
    from flink_jobs.kafka.topics import create_topics
    from flink_jobs.local import airflow
    from flink_jobs.warehouse import database

    settings = load_settings()
    if undo_to is not None:
        _undo(settings, undo_to, dry_run=dry_run, output=output)
        return
    if dry_run:
        raise UserError("--dry-run needs --undo-to", "add `--undo-to NNNN`", ErrorCode.USAGE_ERROR)
    if topics:
        created = create_topics(settings.broker(), settings.topic_prefix, replicas)
        say(f"{len(created)} topics created at {settings.kafka_bootstrap_servers}.")
    applied = database.migrate(settings)
    if airflow_password_file is not None:
        try:
            password = airflow_password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UserError(
                f"cannot read {airflow_password_file} ({error.strerror})", "name a file with the password"
            ) from None
        database.create_airflow_database(settings, airflow.DATABASE, password)
        say(f"The role {database.AIRFLOW} owns Airflow's database {airflow.DATABASE}.")
    place = f"{settings.postgres_host}:{settings.postgres_port}/{settings.postgres_database}"
    emit(
        output,
        {"applied": applied},
        lambda: out.print(f"{place} is up to date ({len(applied)} migrations applied now)"),
    )


def _undo(settings: Settings, to: int, *, dry_run: bool, output: Output) -> None:
    from flink_jobs.warehouse.paths import MIGRATIONS
    from flink_jobs.warehouse.undo import undo_migrations

    undone = undo_migrations(settings.postgres_dsn, MIGRATIONS, to, dry_run=dry_run)
    text = "no migration is newer" if not undone else f"{'would be ' if dry_run else ''}undone: {', '.join(undone)}"
    emit(output, {"undone": undone, "dry_run": dry_run}, lambda: out.print(text, soft_wrap=True))
