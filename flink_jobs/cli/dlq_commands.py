"""``streamflow dlq``: lists, shows, counts, redrives and masks dead letters."""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from flink_jobs.cli.dead_letter_options import (
    Customers,
    Dispositions,
    Offsets,
    Partitions,
    Reasons,
    RejectedSince,
    RejectedUntil,
    Stages,
    Topics,
    letter_filter,
)
from flink_jobs.cli.dead_letter_report_command import report
from flink_jobs.cli.mask_command import mask
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.redrive_command import history, redrive
from flink_jobs.cli.times import shown, shown_at
from flink_jobs.core.dead_letters.letter import letter_payload
from flink_jobs.core.dead_letters.payload_mask import masked_letter
from flink_jobs.core.dead_letters.redrive import place_of
from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.dead_letters.letters import LetterStats, complete_payload, find_letter, read_letters
from flink_jobs.dead_letters.redrive_status import AttemptResult, RedriveStatuses, open_statuses, policy_text
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Dead letters: records that cannot be scored, each with its reason and its original bytes.",
)

app.command()(redrive)
app.command()(history)
app.command()(report)
app.command()(mask)


@app.command("list")
def list_letters(
    reason: Reasons = None,
    stage: Stages = None,
    disposition: Dispositions = None,
    since: RejectedSince = None,
    until: RejectedUntil = None,
    customer: Customers = None,
    topic: Topics = None,
    partition: Partitions = None,
    offset: Offsets = None,
    limit: Annotated[int, typer.Option(min=1, help="largest number to show; the newest ones")] = 50,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """List dead letters, oldest first.

    For example: streamflow dlq list --reason NEGATIVE_AMOUNT --since 1h
    """
    settings = load_settings()
    chosen = letter_filter(reason, stage, disposition, since, until, customer, topic, partition, offset)
    matching, newest = 0, deque[DeadLetterDocument]()
    for letter in read_letters(settings.broker(), settings.topic_prefix, chosen):
        matching += 1
        newest.append(letter)
        if len(newest) > 2 * limit:  # the reader yields partition by partition: sort, then keep the newest
            newest = deque(_newest(newest, limit))
    letters = _newest(newest, limit)
    statuses = open_statuses(settings, say)
    columns = ["rejected", "reason", "disposition", "stage", "redrive", "record", "bytes", "id", "detail"]
    rows = [
        [
            shown(letter["processing_time_ms"]),
            letter["reason"],
            letter["disposition"],
            letter["stage"],
            statuses.status(letter),
            place_of(letter),
            f"{letter['payload_length']:,}",
            letter["dlq_id"],
            letter["detail"],
        ]
        for letter in letters
    ]
    value = [{**_without_card_numbers(letter), "redrive": statuses.status(letter)} for letter in letters]
    emit(output, value, lambda: table(columns, rows))
    if matching > len(letters):
        say(f"{len(letters):,} of {matching:,} dead letters are shown; use --limit to show more")
    elif not letters:
        say("No dead letter matches.")


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="id of the dead letter, start of the id, or the record's partition@offset")
    ],
    raw_out: Annotated[Path | None, typer.Option(help="write the payload to this file, byte for byte")] = None,
    *,
    truncated: Annotated[
        bool, typer.Option("--truncated", help="with --raw-out: also write a truncated payload")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Show one dead letter in full: coordinates, headers, decoded payload, and its redrives with their results.

    Card numbers in the payload are shown as their last four digits; --raw-out writes the bytes.
    """
    settings = load_settings()
    everything = list(read_letters(settings.broker(), settings.topic_prefix))
    letter = find_letter(everything, name)
    if raw_out is not None:
        payload = letter_payload(letter) if truncated else complete_payload(letter)
        try:
            raw_out.write_bytes(payload)
        except OSError as cause:
            raise UserError(
                f"cannot write {raw_out} ({cause.strerror})", "choose another file with --raw-out"
            ) from None
        say(f"{raw_out} holds the payload ({len(payload):,} bytes).")
    statuses = open_statuses(settings, say)
    redrives = statuses.attempts(letter, everything)
    shown_letter = _without_card_numbers(letter)
    value = {**shown_letter, "redrive": statuses.status(letter),
             "redrives": [{**asdict(one.attempt), "became": one.result} for one in redrives]}  # fmt: skip
    emit(output, value, lambda: _print_letter(shown_letter, statuses, redrives))


@app.command()
def stats(
    since: RejectedSince = None,
    until: RejectedUntil = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Count dead letters by disposition, reason and stage."""
    settings = load_settings()
    counts = LetterStats()
    chosen = letter_filter(since=since, until=until)
    for letter in read_letters(settings.broker(), settings.topic_prefix, chosen):
        counts.add(letter)
    rows = [[*key, count] for key, count in sorted(counts.by_reason.items(), key=lambda item: (-item[1], item[0]))]
    names = ("disposition", "reason", "stage", "count")
    value = {
        "total": counts.total,
        "truncated": counts.truncated,
        "first": shown(counts.first_ms),
        "last": shown(counts.last_ms),
        "counts": [dict(zip(names, row, strict=True)) for row in rows],
    }
    emit(output, value, lambda: _print_stats(counts, names, rows))


def _without_card_numbers(letter: DeadLetterDocument) -> DeadLetterDocument:
    return cast("DeadLetterDocument", masked_letter(dict(letter)))


def _newest(letters: deque[DeadLetterDocument], limit: int) -> list[DeadLetterDocument]:
    return sorted(letters, key=lambda letter: (letter["processing_time_ms"], letter["offset"]))[-limit:]


def _print_letter(letter: DeadLetterDocument, statuses: RedriveStatuses, redrives: list[AttemptResult]) -> None:
    kept = letter_payload(letter)
    facts: list[tuple[str, Any]] = [
        ("id", letter["dlq_id"]),
        ("reason", f"{letter['reason']} ({letter['disposition']}, at {letter['stage']})"),
        ("detail", letter["detail"]),
        ("record", place_of(letter)),
        ("record time", shown(letter["timestamp_ms"])),
        ("rejected", shown(letter["processing_time_ms"])),
        ("payload", f"{letter['payload_length']:,} bytes, SHA-256 {letter['payload_sha256']}"),
    ]
    facts.append(("redrive", f"{statuses.status(letter)} ({policy_text(letter)})"))
    for attempt, result in redrives:
        edited = f", {len(attempt.changes)} fields edited" if attempt.changes else ""
        who = f"{shown_at(attempt.started_at)} by {attempt.started_by}: {attempt.why}"
        facts.append((f"replay {attempt.replay}", f"{who}{edited}; {result}"))
    facts += [(f"header {name}", base64.b64decode(value or "")) for name, value in letter["headers"]]
    for name, value in facts:
        out.print(f"{name:<12} {value}", markup=False, soft_wrap=True)
    if letter["payload_truncated"]:
        out.print(f"first {len(kept):,} bytes of the payload:", markup=False)
    if letter["payload"] is None:
        text = "no payload: the record is a tombstone"
    elif letter["payload_encoding"] == "utf-8" and letter["payload"].isprintable():
        text = letter["payload"]
    else:  # control characters must not reach the terminal
        text = repr(kept)
    out.print(text, markup=False, soft_wrap=True)


def _print_stats(counts: LetterStats, names: tuple[str, ...], rows: list[list[Any]]) -> None:
    table(names, rows)
    period = f" between {shown(counts.first_ms)} and {shown(counts.last_ms)}" if counts.total else ""
    out.print(f"{counts.total:,} dead letters{period}; {counts.truncated:,} with a truncated payload")
