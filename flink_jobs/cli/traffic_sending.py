"""The common part of ``replay`` and ``simulate``: sends, reports, and reconciles records with their outcomes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.cli.output import Output, emit, out, say
from flink_jobs.errors import UserError
from flink_jobs.kafka.consumer import Position
from flink_jobs.logs import json_log
from flink_jobs.settings import Settings, load_settings
from flink_jobs.traffic.balance import Balance, await_balance
from flink_jobs.traffic.ledger import SentLedger
from flink_jobs.traffic.outcomes import output_ends
from flink_jobs.traffic.replay import ReplayPlan
from flink_jobs.traffic.replay import replay as send_events
from flink_jobs.traffic.resume import ResumeRecord
from flink_jobs.traffic.sender_metrics import TrafficMetrics

NOT_BALANCED = 1


class ProgressReport(Protocol):
    """Reports progress: ``text`` to users, or ``event`` and ``fields`` as JSON to programs."""

    def __call__(self, event: str, text: str, /, **fields: float) -> None:
        """Report once."""


def progress_report(*, log_json: bool) -> ProgressReport:
    """Return a function that reports progress on standard error, as text or as JSON."""
    if log_json:
        log = json_log(sys.stderr)
        return lambda event, _text, /, **fields: log.info(event, **fields)
    return lambda _event, text, /, **_fields: say(text)


@dataclass(frozen=True, slots=True)
class Sending:
    """The options that ``replay`` and ``simulate`` have in common."""

    plan: ReplayPlan
    ledger_path: Path | None
    account: float | None
    metrics_port: int
    output: Output
    report: ProgressReport


def send(events: Iterable[SourceEvent], sending: Sending) -> None:
    """Send the events, print the counts and, with an account time, the reconciliation.

    Raises:
        typer.Exit: with code 1, if an outcome is not the planned one.
        UserError: no broker answers, the topic does not exist, the port is taken or the ledger cannot be written.
    """
    settings, path, report = load_settings(), sending.ledger_path, sending.report
    if path is not None and not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}", "create it, or choose another file with --ledger")
    metrics = TrafficMetrics()
    metrics.serve(sending.metrics_port, settings.metrics_host)
    kafka, prefix = settings.broker("traffic"), settings.topic_prefix
    ledger, ends, failure = SentLedger(), None, None
    if sending.account is not None:
        ends = output_ends(kafka, prefix)
    start = time.monotonic()

    def delivered(ledger: SentLedger, seconds: float) -> None:
        rate = ledger.sent / max(seconds, 1e-9)
        report("delivered", f"{ledger.sent:>10,} delivered  {rate:>8,.0f}/s", records=ledger.sent, per_s=round(rate, 1))

    try:
        send_events(
            events, sending.plan, kafka, prefix, ledger_path=path, on_progress=delivered, ledger=ledger, watcher=metrics
        )
    except UserError as cause:
        failure = cause  # raised at the end: first the records that were sent are reconciled
    finally:
        seconds = time.monotonic() - start
        text = f"{ledger.sent:,} records delivered in {seconds:.1f} s ({ledger.sent / seconds:,.0f}/s)"
        report("sending_ended", text, records=ledger.sent, seconds=round(seconds, 3))
    balance = (
        None
        if sending.account is None or not ledger.sent
        else _balance(settings, ledger, sending.account, ends, report)
    )
    result: dict[str, Any] = {**ledger.as_dict(), "seconds": round(seconds, 3)}
    if balance is not None:
        result["account"] = balance.as_dict()
    if failure is not None and not ledger.sent:
        raise failure
    emit(sending.output, result, lambda: _print(ledger, balance))
    if failure is not None:
        raise interrupted(failure, sending.plan.record, ledger.sent)
    if balance is not None and not balance.is_as_expected:
        if "duplicate instead of decided" in balance.unexpected:
            say("Some transactions were decided before. To send them again as new ones, use --prefix.")
        raise typer.Exit(NOT_BALANCED)


def interrupted(cause: UserError, record: ResumeRecord | None, sent: int) -> UserError:
    """Return the error of a replay that ended early: how much was sent, and how to continue."""
    if record is None:
        return UserError(f"{cause.what}; {sent:,} records were sent before", cause.fix, cause.code)
    what = f"{cause.what}; {record.delivered:,} records were sent before, up to row {record.row:,}"
    return UserError(what, f"{cause.fix}; then run the same command with --resume to send the rest", cause.code)


def _balance(
    settings: Settings, ledger: SentLedger, limit_s: float, start: Mapping[Position, int] | None, report: ProgressReport
) -> Balance:
    report("waiting_for_outcomes", "Waiting for the outcomes ...", records=ledger.sent)
    shown = time.monotonic()

    def progress(answered: int, sent: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > 2.0:  # noqa: PLR2004 - seconds between two lines
            shown = time.monotonic()
            report("outcomes", f"{answered:,} of {sent:,} have an outcome", outcomes=answered, records=sent)

    kafka, prefix = settings.broker("traffic"), settings.topic_prefix
    return await_balance(kafka, prefix, ledger, limit_s=limit_s, start=start, on_progress=progress)


def _print(ledger: SentLedger, balance: Balance | None) -> None:
    counts = ledger.as_dict()
    fates = counts["fates"]
    out.print(
        f"sent {ledger.sent:,}: {fates['decided']:,} good ({ledger.faults['late']:,} of them late), "
        f"{fates['rejected']:,} malformed, {fates['duplicate']:,} redelivered"
    )
    if balance is not None:
        for line in balance.lines():
            out.print(line, soft_wrap=True, markup=False)
