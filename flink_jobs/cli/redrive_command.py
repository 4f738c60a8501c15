"""``streamflow dlq redrive`` and ``history``: send records of dead letters again, and list what was sent."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from flink_jobs.cli.actor import ByOption, actor, without_card_number
from flink_jobs.cli.dead_letter_options import (
    Customers,
    Offsets,
    Partitions,
    Reasons,
    RejectedSince,
    RejectedUntil,
    Stages,
    Topics,
    letter_filter,
)
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.payload_editing import Edit, edited_payload, recorded_changes
from flink_jobs.cli.times import shown_at
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.dead_letters.letters import LetterFilter
    from flink_jobs.dead_letters.redrive_audit import RedriveAttempt, RedriveItem, RedriveStore
    from flink_jobs.dead_letters.redrive_run import RedrivePlan, RedriveReport, RedriveSettings

REFUSED = 1
SHOWN = 20

Name = Annotated[str | None, typer.Argument(help="one dead letter: id, start of an id, or partition@offset")]
AuditReason = Annotated[
    str,
    typer.Option(
        "--why", "-w", help="reason of the redrive, for the audit; optional with --dry-run",
        callback=without_card_number,
    ),
]  # fmt: skip
Rate = Annotated[float, typer.Option(min=0.1, help="largest number of records per second")]
Limit = Annotated[int | None, typer.Option(min=1, help="largest number of dead letters to redrive, oldest first")]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="edit one dead letter: set a field (outer.inner=5; NAME= removes the field); may be repeated",
    ),
]
FromFile = Annotated[Path | None, typer.Option(help="edit one dead letter: send the bytes of this file instead")]
InEditor = Annotated[bool, typer.Option("--edit", help="edit one dead letter in $EDITOR")]
Every = Annotated[bool, typer.Option("--all", help="all dead letters that can be redriven")]
Force = Annotated[
    bool, typer.Option("--force", help="also parked dead letters, and records that the detector will reject again")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show the plan and send nothing")]


class Request(NamedTuple):
    """The options of a redrive."""

    name: str | None
    chosen: LetterFilter
    selection: dict[str, Any]
    """The options that choose dead letters, for the audit."""
    edit: Edit
    why: str
    by: str | None
    rate: float
    limit: int | None
    force: bool
    dry_run: bool


def redrive(
    name: Name = None,
    reason: Reasons = None,
    stage: Stages = None,
    since: RejectedSince = None,
    until: RejectedUntil = None,
    customer: Customers = None,
    topic: Topics = None,
    partition: Partitions = None,
    offset: Offsets = None,
    why: AuditReason = "",
    by: ByOption = None,
    rate: Rate = 100.0,
    limit: Limit = None,
    fields: Fields = None,
    from_file: FromFile = None,
    *,
    edit: InEditor = False,
    every: Every = False,
    force: Force = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Send the records of dead letters again: each at most once, at a limited rate, with an audit.

    After an interruption the same command continues with the remaining records. Duplicates and dead letters of scored
    transactions are never redriven. Records that the parser still rejects are not sent.

    For example: streamflow dlq redrive --reason PROCESSING_ERROR --since 2h --why "defect fixed in 0.2.1"
    """
    options: dict[str, Any] = {
        "name": name, "reason": reason, "stage": stage, "since": since, "until": until, "customer": customer,
        "topic": topic, "partition": partition, "offset": offset, "every": every, "limit": limit,
    }  # fmt: skip
    chosen = letter_filter(reason, stage, None, since, until, customer, topic, partition, offset)
    selection = {key: value for key, value in options.items() if value}
    edits = Edit(fields or [], from_file, edit)
    request = Request(name, chosen, selection, edits, why.strip(), by, rate, limit, force, dry_run)
    _check(request)
    _redrive(request, load_settings(), output)


def history(
    limit: Annotated[int, typer.Option(min=1, help="largest number of redrives to show, newest first")] = 50,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """List redriven dead letters, newest first: time, user, reason, dead letter and result."""
    from flink_jobs.dead_letters.redrive_audit import open_redrives

    with open_redrives(load_settings().postgres_dsn) as store:
        attempts = store.attempts(limit=limit)
    columns = ["time", "by", "why", "id", "reason", "edited", "replay", "outcome", "sent as"]
    emit(output, [asdict(item) for item in attempts], lambda: table(columns, [_cells(item) for item in attempts]))
    if not attempts:
        say("No dead letter was redriven yet.")


def _cells(item: RedriveAttempt) -> list[object]:
    edited = ", ".join(change["path"] or "all" for change in item.changes or ())
    outcome = item.outcome + (f": {item.detail}" if item.detail else "")
    sent_as = None if item.sent_offset is None else f"{item.sent_partition}@{item.sent_offset}"
    return [
        shown_at(item.started_at), item.started_by, item.why, item.dlq_id, item.letter_reason, edited, item.replay,
        outcome, sent_as,
    ]  # fmt: skip


def _check(request: Request) -> None:
    """Check that the options are complete.

    Raises:
        UserError: no dead letter is chosen, an edit is not for one dead letter, or the reason is missing.
    """
    if not request.selection:
        fix = "name one, give filters such as --reason, or give --all"
        raise UserError("no dead letter is chosen", fix, ErrorCode.USAGE_ERROR)
    if request.edit.is_wanted and request.name is None:
        fix = "name it by its id; `streamflow dlq list` shows the ids"
        raise UserError("an edit applies to one dead letter", fix, ErrorCode.USAGE_ERROR)
    if not request.dry_run and not request.why:
        raise UserError("no reason is given", "give the reason with --why, for the audit", ErrorCode.USAGE_ERROR)


def _redrive(request: Request, settings: Settings, output: Output) -> None:
    from flink_jobs.dead_letters.letters import find_letter, read_letters
    from flink_jobs.dead_letters.payload_parser import payload_parser
    from flink_jobs.dead_letters.redrive_audit import open_redrives
    from flink_jobs.dead_letters.redrive_recovery import settle_interrupted
    from flink_jobs.dead_letters.redrive_run import RedriveSettings

    kafka = RedriveSettings(settings.broker(), settings.topic_prefix, settings.replay_limit, payload_parser(settings))
    letters: list[DeadLetterDocument] = list(read_letters(kafka.broker, kafka.prefix, request.chosen))
    if request.name is not None:
        letters = [find_letter(letters, request.name)]
    letters.sort(key=lambda letter: (letter["processing_time_ms"], letter["offset"]))
    with open_redrives(settings.postgres_dsn, alone=not request.dry_run) as store:
        if not request.dry_run:
            _say_settled(*settle_interrupted(store, kafka.broker))
        plan = _plan(request, store, kafka, letters)
        if request.dry_run:
            _emit_plan(output, plan)
        elif not plan.items:
            _emit_plan(output, plan)
            say("Nothing was redriven.")
            raise typer.Exit(REFUSED if plan.verdicts else 0)
        else:
            _carry_out(request, store, kafka, plan, output)


def _plan(
    request: Request, store: RedriveStore, kafka: RedriveSettings, letters: list[DeadLetterDocument]
) -> RedrivePlan:
    from flink_jobs.dead_letters.redrive_run import plan_redrive

    now_ms = time.time_ns() // 1_000_000
    if request.edit.is_wanted:
        return _edited_plan(request, store, kafka, letters[0], now_ms)
    return plan_redrive(kafka, letters, store.histories(), now_ms=now_ms, is_forced=request.force)


def _edited_plan(
    request: Request, store: RedriveStore, kafka: RedriveSettings, letter: DeadLetterDocument, now_ms: int
) -> RedrivePlan:
    """Return the plan for one dead letter with an edited payload; the dead letter keeps the original."""
    from flink_jobs.core.dead_letters.redrive import judge
    from flink_jobs.dead_letters.letters import whole_payloads
    from flink_jobs.dead_letters.redrive_audit import RedriveItem
    from flink_jobs.dead_letters.redrive_run import RedrivePlan

    before = whole_payloads([letter], kafka.broker)[letter["dlq_id"]] or b""
    payload = edited_payload(before, request.edit)
    changes = recorded_changes(before, payload)
    if not changes:
        raise UserError("the edit changes nothing", "redrive the record without an edit")
    plan, past = RedrivePlan(), store.histories().of(letter)
    verdict = judge(
        letter, payload, past, kafka.replay_limit, now_ms, is_edited=True, is_forced=request.force, parse=kafka.parse
    )
    plan.add(RedriveItem(letter, payload, request.force, changes), verdict)
    return plan


def _carry_out(
    request: Request, store: RedriveStore, kafka: RedriveSettings, plan: RedrivePlan, output: Output
) -> None:
    from flink_jobs.dead_letters.redrive_run import RedriveOrder, run_redrive
    from flink_jobs.kafka.pacing import Pace

    order = RedriveOrder(actor(request.by), request.why, request.selection, Pace(rate=request.rate), request.force)
    items: list[RedriveItem] = plan.items[: request.limit]
    report = run_redrive(store, kafka, order, items, lambda now: say(f"{now.sent:,} of {len(items):,} sent"))
    left = Counter(verdict.why for _, verdict in plan.verdicts if not verdict.is_allowed)
    over = len(plan.items) - len(items)
    value = {
        "run": report.run, "sent": report.sent, "written": report.written, "taken": report.taken,
        "refused": [{"dlq_id": name, "detail": detail} for name, detail in report.refused],
        "left": dict(left), "over_the_limit": over,
    }  # fmt: skip
    emit(output, value, lambda: _print_report(report, left, over))
    if report.refused:
        raise typer.Exit(REFUSED)


def _say_settled(sent: int, not_sent: int) -> None:
    if sent or not_sent:
        say(f"An earlier redrive was interrupted: {sent:,} of its records were sent, {not_sent:,} were not.")


def _emit_plan(output: Output, plan: RedrivePlan) -> None:
    value = [
        {
            "dlq_id": letter["dlq_id"], "reason": letter["reason"], "goes": verdict.is_allowed, "why": verdict.why,
            "changes": next((item.changes for item in plan.items if item.letter is letter), None),
        }
        for letter, verdict in plan.verdicts
    ]  # fmt: skip
    emit(output, value, lambda: _print_plan(plan))


def _print_plan(plan: RedrivePlan) -> None:
    from flink_jobs.core.dead_letters.redrive import place_of

    counts = Counter((verdict.is_allowed, verdict.why) for _, verdict in plan.verdicts)
    rows = [["redrive" if goes else "leave", f"{count:,}", why] for (goes, why), count in counts.most_common()]
    table(["plan", "dead letters", "method, or obstacle"], rows)
    for item in plan.items[:SHOWN]:
        edits = "; ".join(
            f"{change['path']}: {change.get('from')} -> {change.get('to')}" for change in item.changes or ()
        )
        out.print(f"{item.letter['dlq_id']}  {place_of(item.letter)}  {edits}", markup=False, soft_wrap=True)
    if len(plan.items) > SHOWN:
        out.print(f"and {len(plan.items) - SHOWN:,} more")


def _print_report(report: RedriveReport, left: Counter[str], over: int) -> None:
    out.print(f"{report.run}: {report.sent:,} sent, {report.written:,} rows written", markup=False)
    for name, detail in report.refused[:SHOWN]:
        out.print(f"Postgres rejected {name} again: {detail}", markup=False, soft_wrap=True)
    for why, count in left.most_common():
        out.print(f"{count:,} not redriven: {why}", markup=False, soft_wrap=True)
    if over:
        out.print(f"{over:,} more than --limit: run the command again for the next ones")
    if report.sent:
        out.print("`streamflow dlq show ID` shows the result of a redrive")
