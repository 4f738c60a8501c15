"""`streamflow dlq redrive` and `history`."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flink_jobs.cli.actor import By, actor
from flink_jobs.cli.letter_options import (
    Customers,
    Offsets,
    Partitions,
    Reasons,
    Since,
    Stages,
    Topics,
    Until,
    letter_filter,
)
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.times import shown_at
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.dead_letters.redrive_audit import RedriveStore
    from flink_jobs.dead_letters.redrive_run import Order, Place, Plan, Report

REFUSED = 1
SHOWN = 20


def redrive(
    name: Annotated[str | None, typer.Argument(help="one letter: id, start of an id, or partition@offset")] = None,
    reason: Reasons = None,
    stage: Stages = None,
    since: Since = None,
    until: Until = None,
    customer: Customers = None,
    topic: Topics = None,
    partition: Partitions = None,
    offset: Offsets = None,
    why: Annotated[str, typer.Option("--why", "-w", help="why, for the audit; not needed with --dry-run")] = "",
    by: By = None,
    rate: Annotated[float, typer.Option(min=0.1, help="records per second at most")] = 100.0,
    limit: Annotated[int | None, typer.Option(min=1, help="redrive so many at most, the oldest first")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="edit one letter: set a field (outer.inner=5; nothing after =: take it away); may be repeated",
        ),
    ] = None,
    from_file: Annotated[Path | None, typer.Option(help="edit one letter: send these bytes instead")] = None,
    *,
    edit: Annotated[bool, typer.Option("--edit", help="edit one letter in $EDITOR")] = False,
    every: Annotated[bool, typer.Option("--all", help="all letters that may be redriven")] = False,
    force: Annotated[bool, typer.Option("--force", help="parked letters too, and such as will come back")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Send records of dead letters again: each once, rate-limited, audited; resumed by the same command after a kill.

    Duplicates and letters of decided transactions are never redriven; bytes that the parser refuses still are not sent.

    For example: streamflow dlq redrive --reason PROCESSING_ERROR --since 2h --why "defect mended in 0.2.1"
    """
    from flink_jobs.dead_letters.letters import find_letter, read_letters
    from flink_jobs.dead_letters.redrive_audit import open_redrives
    from flink_jobs.dead_letters.redrive_recovery import settle_interrupted
    from flink_jobs.dead_letters.redrive_run import Order, Place, plan_redrive, run_redrive
    from flink_jobs.kafka.pacing import Pace

    chosen = letter_filter(reason, stage, None, since, until, customer, topic, partition, offset)
    selection = {key: value for key, value in _given(locals()).items() if value}
    is_edit = bool(fields or from_file or edit)
    if name is None and not every and not selection:
        raise UserError("no letter is chosen", "name one, give filters such as --reason, or --all")
    if is_edit and name is None:
        raise UserError("an edit is of one letter", "name it: `streamflow dlq list` shows ids")
    if not dry_run and not why.strip():
        raise UserError("no reason is given", "say why with --why: somebody will read it in the audit")
    settings = load_settings()
    place = Place(settings.broker(), settings.topic_prefix, settings.replay_limit)
    letters: list[DeadLetterDocument] = list(read_letters(place.broker, place.prefix, chosen))
    if name is not None:
        letters = [find_letter(letters, name)]
    letters.sort(key=lambda letter: (letter["processing_time_ms"], letter["offset"]))
    with open_redrives(settings.postgres_dsn, alone=not dry_run) as store:
        if not dry_run:
            _say_settled(*settle_interrupted(store, place.broker))
        now_ms = time.time_ns() // 1_000_000
        if is_edit:
            plan = _edited_plan(store, place, letters[0], now_ms, (fields, from_file), is_forced=force)
        else:
            plan = plan_redrive(place, letters, store.history(), now_ms=now_ms, is_forced=force)
        if dry_run:
            _emit_plan(output, plan)
            return
        order = Order(actor(by), why.strip(), selection, Pace(rate=rate), force)
        _carry_out(output, store, place, order, plan, limit, run_redrive)


def _carry_out(
    output: Output,
    store: RedriveStore,
    place: Place,
    order: Order,
    plan: Plan,
    limit: int | None,
    run: Any,  # noqa: ANN401
) -> None:
    if not plan.items:
        _emit_plan(output, plan)
        say("Nothing was redriven.")
        raise typer.Exit(REFUSED if plan.verdicts else 0)
    items = plan.items[:limit]
    report: Report = run(store, place, order, items, lambda now: say(f"{now.sent:,} of {len(items):,} sent"))
    stay = Counter(verdict.why for _, verdict in plan.verdicts if not verdict.is_allowed)
    value = {
        "run": report.run, "sent": report.sent, "written": report.written, "taken": report.taken,
        "refused": [{"dlq_id": name, "detail": detail} for name, detail in report.refused],
        "left": dict(stay), "over_the_limit": len(plan.items) - len(items),
    }  # fmt: skip
    emit(output, value, lambda: _print_report(report, stay, len(plan.items) - len(items)))
    if report.refused:
        raise typer.Exit(REFUSED)


def history(
    limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 50,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """List what was redriven, newest first: when, by whom, why, which letter, what came of it."""
    from flink_jobs.dead_letters.redrive_audit import open_redrives

    with open_redrives(load_settings().postgres_dsn) as store:
        attempts = store.attempts(limit=limit)
    columns = ["time", "by", "why", "id", "letter", "edited", "replay", "outcome", "sent as"]
    rows = [
        [
            shown_at(item["started_at"]), item["started_by"], item["why"], item["dlq_id"], item["letter_reason"],
            ", ".join(change["path"] or "all" for change in item["changes"] or ()), item["replay"],
            item["outcome"] + (f": {item['detail']}" if item["detail"] else ""),
            None if item["sent_offset"] is None else f"{item['sent_partition']}@{item['sent_offset']}",
        ]
        for item in attempts
    ]  # fmt: skip
    emit(output, attempts, lambda: table(columns, rows))
    if not attempts:
        say("Nothing was ever redriven.")


def _edited_plan(
    store: RedriveStore,
    place: Place,
    letter: DeadLetterDocument,
    now_ms: int,
    edits: tuple[list[str] | None, Path | None],
    *,
    is_forced: bool,
) -> Plan:
    """Return the plan for one letter with another payload; the letter keeps the original."""
    from flink_jobs.core.dead_letters.payload_edit import changes_between
    from flink_jobs.core.dead_letters.redrive import judge
    from flink_jobs.dead_letters.letters import whole_payloads
    from flink_jobs.dead_letters.redrive_audit import Item
    from flink_jobs.dead_letters.redrive_run import Plan

    before = whole_payloads([letter], place.broker)[letter["dlq_id"]] or b""
    payload = _edited(before, *edits)
    changes = changes_between(before, payload)
    if not changes:
        raise UserError("the edit changes nothing", "leave it out to redrive the record as it is")
    plan, past = Plan(), store.history().of(letter)
    verdict = judge(letter, payload, past, place.replay_limit, now_ms, is_edited=True, is_forced=is_forced)
    plan.add(Item(letter, payload, is_forced, changes), verdict)
    return plan


def _edited(before: bytes, fields: list[str] | None, from_file: Path | None) -> bytes:
    from flink_jobs.core.dead_letters.payload_edit import with_fields

    if from_file is not None:
        try:
            return from_file.read_bytes()
        except OSError as cause:
            raise UserError(f"{from_file} cannot be read ({cause.strerror})", "check the path") from None
    if fields:
        try:
            return with_fields(before, fields)
        except ValueError as problem:
            raise UserError(f"the record cannot be edited so: {problem}", "use --edit, or --from-file") from None
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise UserError("the record is no text in UTF-8", "write the bytes with --from-file") from None
    return _in_editor(text).rstrip("\n").encode()


def _in_editor(text: str) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UserError("no editor is named", "set EDITOR, or use --set or --from-file")
    with tempfile.TemporaryDirectory() as folder:  # 0700: the text is card data
        file = Path(folder) / "record.json"
        file.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, subprocess.CalledProcessError) as cause:
            raise UserError(
                f"{editor} did not end well ({cause})", "set EDITOR to another one; nothing was sent"
            ) from None
        return file.read_text(encoding="utf-8")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that choose letters, for the audit."""
    names = (
        "name", "reason", "stage", "since", "until", "customer", "topic", "partition", "offset", "every", "limit",
    )  # fmt: skip
    return {name: options[name] for name in names}


def _say_settled(sent: int, not_sent: int) -> None:
    if sent or not_sent:
        say(f"A run before this one was cut short: {sent:,} of its records had been sent, {not_sent:,} had not.")


def _emit_plan(output: Output, plan: Plan) -> None:
    value = [
        {
            "dlq_id": letter["dlq_id"], "reason": letter["reason"], "goes": verdict.is_allowed, "why": verdict.why,
            "changes": next((item.changes for item in plan.items if item.letter is letter), None),
        }
        for letter, verdict in plan.verdicts
    ]  # fmt: skip
    emit(output, value, lambda: _print_plan(plan))


def _print_plan(plan: Plan) -> None:
    from flink_jobs.core.dead_letters.redrive import place_of

    counts = Counter((verdict.is_allowed, verdict.why) for _, verdict in plan.verdicts)
    rows = [["goes" if goes else "stays", f"{count:,}", why] for (goes, why), count in counts.most_common()]
    table(["", "letters", "how, or why not"], rows)
    for item in plan.items[:SHOWN]:
        edits = "; ".join(
            f"{change['path']}: {change.get('from')} -> {change.get('to')}" for change in item.changes or ()
        )
        out.print(f"{item.letter['dlq_id']}  {place_of(item.letter)}  {edits}", markup=False, soft_wrap=True)
    if len(plan.items) > SHOWN:
        out.print(f"and {len(plan.items) - SHOWN:,} more")


def _print_report(report: Report, stay: Counter[str], over: int) -> None:
    out.print(f"{report.run}: {report.sent:,} sent, {report.written:,} rows written", markup=False)
    for name, detail in report.refused[:SHOWN]:
        out.print(f"{name} was refused again: {detail}", markup=False, soft_wrap=True)
    for why, count in stay.most_common():
        out.print(f"{count:,} left: {why}", markup=False, soft_wrap=True)
    if over:
        out.print(f"{over:,} more than --limit: give the command again")
    if report.sent:
        out.print("`streamflow dlq show ID` tells what became of one")
