"""``streamflow inspect``: reads a card file, proposes a mapping, and counts the rows that would be rejected."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cards.card_files import SourceEvent, check_file, mapping_for
from flink_jobs.cards.detection import take_sample
from flink_jobs.cards.inspection import Inspection, inspect_file
from flink_jobs.cards.proposal import as_yaml, presets_for, propose, propose_label
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.progress import counted
from flink_jobs.cli.times import shown
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.errors import UserError

REJECTED = 1
NEGATIVE = DeadLetterReason.NEGATIVE_AMOUNT.value


def inspect(
    file: Annotated[Path, typer.Argument(help="card file: .csv, .tsv, .txt, .jsonl (each also .gz) or .parquet")],
    mapping: Annotated[
        Path | None, typer.Option(help="column mapping or preset:NAME; without it, a mapping is proposed and used")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="read only this many rows; default: the whole file")] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Propose a column mapping for a card file, and count the rows that would be rejected. Nothing is sent.

    Lines of the proposal that need a decision are marked `# check`: a unit, a currency or a date order that the file
    does not show is never guessed silently. Exit code 1: rows would be rejected.

    For example:

      streamflow inspect my_cards.csv > my_cards.mapping.yaml

      streamflow inspect my_cards.csv --mapping my_cards.mapping.yaml
    """
    check_file(file)
    proposal = None
    try:
        if mapping is None:
            proposal = _proposal(file)
            result = _inspected_proposal(file, proposal, sample)
        else:
            result = _inspected(file, mapping, sample)
    except UserError as cause:
        if proposal is None:
            raise
        emit(output, {"mapping": proposal, "problem": cause.what}, lambda: out.print(proposal, markup=False, end=""))
        say(f"The proposal must be completed: {cause.what}")
        raise typer.Exit(REJECTED) from None
    emit(output, {"mapping": proposal, **asdict(result)}, lambda: _print(proposal, result))
    if result.refused:
        raise typer.Exit(REJECTED)


def _proposal(file: Path) -> str:
    taken = take_sample(file)
    if not taken.rows and taken.problem is not None:
        error = taken.problem
        raise UserError(f"{file}, row {error.row}: {error.message}", f"{error.fix or 'correct it'}; no row can be read")
    if not taken.rows:
        raise UserError(f"{file} has no rows", "check that it is the right file")
    for note in taken.notes:
        say(note)
    for name in presets_for(taken):
        say(f"the file has the columns of a public data set: use --mapping preset:{name}")
    return as_yaml(taken, propose(taken), propose_label(taken))


def _inspected_proposal(file: Path, proposal: str, sample: int | None) -> Inspection:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proposed.yaml"
        path.write_text(proposal, encoding="utf-8")
        return _inspected(file, path, sample)


def _inspected(file: Path, mapping: Path, sample: int | None) -> Inspection:
    def progress(events: Iterable[SourceEvent]) -> Iterator[SourceEvent]:
        return counted(events, "rows read", sample)

    return inspect_file(file, mapping_for(file, mapping), time.time_ns() // 1_000_000, sample, progress)


def _print(proposal: str | None, result: Inspection) -> None:
    """Print the proposal on standard output, so that it can be redirected to a file, and the counts beside it."""
    if proposal is not None:
        out.print(proposal, markup=False, end="", soft_wrap=True)
        say(_summary(result))
        for reason, refusal in result.refused.items():
            say(f"{refusal.count:,} rejected by the {refusal.by}: {reason}; the first: {refusal.first}")
        _advise(result)
        return
    out.print(_summary(result))
    if result.accepted:
        counts = ", ".join(f"{count:,} {name}" for name, count in result.labels.items())
        out.print(f"event times {shown(result.first_ms)} to {shown(result.last_ms)}; labels: {counts}", soft_wrap=True)
    if result.out_of_order:
        out.print(f"{result.out_of_order:,} rows are earlier than the row before: the file is not oldest first")
    if result.refused:
        rows = [(item.count, item.by, reason, item.first) for reason, item in result.refused.items()]
        table(("rows", "rejected by", "reason", "first row"), rows)
    _advise(result)


def _summary(result: Inspection) -> str:
    refunds = f", {result.refunds:,} refunds would be left out" if result.refunds else ""
    return f"{result.rows:,} rows, {result.accepted:,} would be scored{refunds}"


def _advise(result: Inspection) -> None:
    """Print what to do about negative amounts: only the user knows whether they are refunds or purchases."""
    if NEGATIVE in result.refused:
        say("Negative amounts: add `refunds: skip` to the amount of the mapping if they are refunds,")
        say("or `negate: true` if purchases have a negative sign in this file.")
