"""``streamflow schemas``: the Avro schemas of topics that accept Avro."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Write, check and register the Avro schemas of the topic contracts.")

PROBLEMS_EXIT = 1


@app.command()
def export(
    folder: Annotated[Path | None, typer.Argument(show_default="flink_jobs/contracts/avro")] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Write the Avro schemas to a folder; they are generated from the JSON Schemas of the contracts.

    Example: streamflow schemas export build/schemas
    """
    from flink_jobs.contracts.avro_schemas import AVRO_DIR
    from flink_jobs.contracts.avro_schemas import export as write
    from flink_jobs.contracts.topic_contracts import load_contracts

    target = folder or AVRO_DIR
    try:
        files = write(load_contracts(), target)
    except OSError as cause:
        raise UserError(f"{target} cannot be written ({cause.strerror})", "name a folder that you may write") from None
    lines = [str(path) for path in files]
    emit(output, lines, lambda: _print(lines))


@app.command()
def check(output: OutputOption = Output.PLAIN) -> None:
    """Check that the committed Avro schemas equal the contracts and that their versions are compatible.

    This needs no registry; `make check` runs it. Exit code 1: a file is stale, or a version breaks the compatibility
    which the topic's contract names.
    """
    from flink_jobs.contracts.avro_schemas import problems
    from flink_jobs.contracts.topic_contracts import load_contracts

    found = problems(load_contracts())
    emit(output, found, lambda: _print(found))
    if found:
        raise typer.Exit(PROBLEMS_EXIT)
    say("The Avro schemas equal the contracts, and their versions are compatible.")


@app.command()
def register(output: OutputOption = Output.PLAIN) -> None:
    """Register the Avro schemas at STREAMFLOW_SCHEMA_REGISTRY, with the compatibility that their contract names.

    Registering twice changes nothing. Producers never register schemas themselves.

    Example: streamflow schemas register
    """
    from flink_jobs.contracts.avro_schemas import avro_versions
    from flink_jobs.contracts.topic_contracts import load_contracts
    from flink_jobs.kafka.schema_registry import RegistryError, subject_of
    from flink_jobs.kafka.schema_registry import register as send
    from flink_jobs.settings import load_settings

    settings = load_settings()
    access = settings.registry()
    if access is None or access.is_folder:
        raise UserError("STREAMFLOW_SCHEMA_REGISTRY is no URL", "set it to the URL of the registry")
    contracts, done = load_contracts(settings.topic_prefix), []
    try:
        for item in avro_versions(contracts):
            contract = contracts[item.suffix]
            subject = subject_of(contract.name)
            schema_id = send(access, subject, item.text, contract.avro or "")
            done.append({"subject": subject, "version": item.version, "id": schema_id})
    except RegistryError as problem:
        raise UserError(str(problem), "see the registry's log; `streamflow schemas check` compares offline") from None
    emit(output, done, lambda: table(["subject", "version", "id"], [list(item.values()) for item in done]))


def _print(lines: list[str]) -> None:
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
