"""``streamflow model card``: records the model card of a version, or prints the recorded one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.actor import ByOption, change_reason, without_card_number
from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.postgres_settings import load_postgres_settings


def card(
    version: Annotated[str, typer.Argument(help="name of the model version")],
    file: Annotated[
        Path | None,
        typer.Option("--card", help="record this card, as `streamflow evaluate --model VERSION --out` wrote it"),
    ] = None,
    governance: Annotated[
        Path | None, typer.Option(help="YAML file with owner, developer, validator, approver and others")
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="reason, for the registry", callback=without_card_number)
    ] = "model card",
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Record the model card of a registered version; without options, print the newest recorded one."""
    from flink_jobs.model_registry.cards import record_card
    from flink_jobs.model_registry.versions import open_registry
    from ml.evaluation.governance import read_governance

    if (file is None) is not (governance is None):
        raise UserError("a card needs its governance file", "give --card and --governance", ErrorCode.USAGE_ERROR)
    with open_registry(load_postgres_settings().postgres_dsn) as registry:
        if file is not None and governance is not None:
            facts = read_governance(governance)
            record_card(registry, version, _text(file), facts, change_reason(by, reason))
            value = {"version": version, "recorded": True, "problems": list(facts.problems())}
            lines = [f"The card of {version} is recorded.", *(f"Note: {problem}" for problem in facts.problems())]
            emit(output, value, lambda: out.print("\n".join(lines), soft_wrap=True))
            return
        registry.get(version)
        found = registry.newest_card(version)
    if found is None:
        raise UserError(f"no model card of {version} is recorded", "record it with --card and --governance")

    def plain() -> None:
        out.print(found.card, markup=False, highlight=False, soft_wrap=True)
        table(["fact", "recorded"], [[name, str(fact)] for name, fact in found.facts.items()])

    emit(output, {"version": version, "facts": found.facts, "card": found.card, "recorded_by": found.recorded_by,
                  "recorded_at": found.recorded_at, "reason": found.reason}, plain)  # fmt: skip


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}", "name the card that `streamflow evaluate` wrote") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8", "name the card that `streamflow evaluate` wrote") from None
