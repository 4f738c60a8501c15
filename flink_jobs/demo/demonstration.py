"""Run the demo from start to end."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil
import psycopg

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.demo.archived import open_archive
from flink_jobs.demo.board import Board
from flink_jobs.demo.labelling import DELAY_DAYS, label_run
from flink_jobs.demo.plan import run_prefix
from flink_jobs.demo.preparation import Session
from flink_jobs.demo.summary import Locations, Summary
from flink_jobs.demo.threads import Traffic
from flink_jobs.errors import UserError
from flink_jobs.local.interrupts import handled, interrupt
from flink_jobs.local.stack import Stack
from flink_jobs.logs import json_log
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.balance import Balance, balance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from flink_jobs.demo.plan import DemoPlan
    from flink_jobs.demo.screen import View
    from flink_jobs.local.launch import Say
    from flink_jobs.settings import Settings
    from flink_jobs.traffic.sender_metrics import TrafficMetrics

PATIENCE_S = 120.0
"""Longest time without a new outcome, in seconds; after it the demo ends with the outcomes it has."""
HURRIED_S = 60.0
"""The same limit after Ctrl-C."""
FRAME_S = 0.25
LOG_FILE = "demo.jsonl"


@dataclass(frozen=True, slots=True)
class Audience:
    """The receivers of the demo's output.

    Attributes:
        say: prints a progress line.
        view: returns the view of the traffic; its argument is the URL of the Flink UI.
        report: prints the summary before anything is stopped; its second argument is true if the stack keeps running.
        metrics: metrics of the sender.
    """

    say: Say
    view: Callable[[str], View]
    report: Callable[[Summary, bool], None]
    metrics: TrafficMetrics


def run_demo(plan: DemoPlan, audience: Audience, model_dir: Path | None = None) -> Summary:
    """Run the demo, and stop everything that it started, also after an error.

    Args:
        plan: the traffic, and what happens after it.
        audience: the receivers of the output.
        model_dir: folder of model versions; default: ``STREAMFLOW_MODEL_DIR``, else ``models`` in the checkout.

    Raises:
        UserError: a part cannot start or does not answer.
        KeyboardInterrupt: Ctrl-C or SIGTERM before any record was sent.
    """
    say = _unfailing(audience.say)
    stack = Stack(say=say)
    session = Session(stack, keep=plan.keep, say=say, secure=plan.secure, console=plan.console)
    with handled(interrupt), ExitStack() as files:
        try:
            with session.timings.measure("preparation"):
                settings = session.prepare(model_dir or REPO_ROOT / "models", plan.data)
            run = run_prefix()
            log = json_log(files.enter_context((stack.home.logs / LOG_FILE).open("a", encoding="utf-8")), run=run)
            log.info("demo_started", events=plan.events, had_stack=session.had_stack, **session.timings.seconds)
            summary = _traffic(plan, settings, run, session, audience)
            if not summary.interrupted:
                with session.timings.measure("labels"):
                    _label(plan, settings, summary, say)
            _log(log, summary)
            stays = plan.stay and not summary.interrupted
            stack_runs = session.leaves_stack or stays
            if stack_runs:
                summary = _with_login(summary, session)
            audience.report(summary, stack_runs)
            if stays:
                _wait_for_interrupt(say)
        finally:
            # Stopping takes seconds; another Ctrl-C must not leave processes running.
            with handled(lambda: say("Still stopping ...")):
                if not plan.keep:
                    say("Stopping everything that the demo started ...")
                session.close()
    return summary


def _traffic(plan: DemoPlan, settings: Settings, run: str, session: Session, audience: Audience) -> Summary:
    board = Board(settings.topic_prefix, run, plan.events, audience.metrics)
    interrupted = False
    with session.timings.measure("traffic"), Traffic(plan, settings, run, board, session.jobs["detect"]) as traffic:
        start = time.monotonic()
        with audience.view(settings.flink_rest_url) as shown:
            try:
                _show_until(board.is_complete, board, traffic, shown, PATIENCE_S)
            except KeyboardInterrupt:
                interrupted = True
                board.end.set()
        if interrupted:
            audience.say("Stopping; waiting for the outcome of every sent record (Ctrl-C again skips this) ...")
            with audience.view(settings.flink_rest_url) as shown:
                _show_until(board.is_complete, board, traffic, shown, HURRIED_S)
        seconds = max(board.progress_at - start, 1e-9)
        in_kafka = balance(board.ledger, board.outcomes)
        with session.timings.measure("archive"):
            session.await_jobs()
            in_postgres = await_archive(settings, board, run, HURRIED_S if interrupted else PATIENCE_S)
    locations = Locations(
        session.stack.home.root, settings.flink_rest_url, settings.postgres_host, settings.postgres_port,
        settings.postgres_user, settings.postgres_database,
    )  # fmt: skip
    return Summary(
        run, plan.data.name, board.ledger, in_kafka, in_postgres, seconds, board.latencies(), locations,
        session.timings.seconds, interrupted, _since_start(board.first_alert_s),
    )  # fmt: skip


def _since_start(at_s: float | None) -> float | None:
    """Return the seconds from the start of this process to ``at_s`` (seconds since the epoch)."""
    return None if at_s is None else max(0.0, at_s - psutil.Process().create_time())


def _label(plan: DemoPlan, settings: Settings, summary: Summary, say: Say) -> None:
    """Send the labels of the run. The reconciliation is done and does not depend on them, so a problem is a warning."""
    try:
        sent, archived = label_run(plan, settings, summary.run, summary.ledger.fates["decided"])
    except (UserError, psycopg.Error) as problem:
        say(f"warning: the demo's labels were not archived ({type(problem).__name__}); the marts show no precision")
        return
    missing = f", of which {archived:,} are in Postgres" if archived < sent else ""
    say(f"Labels: {sent:,} sent, {DELAY_DAYS:.0f} days after their transactions{missing}.")


def _with_login(summary: Summary, session: Session) -> Summary:
    """Return the summary with a login to the console, or as it is if the API or the database does not run."""
    with suppress(UserError, psycopg.Error):
        locations = replace(summary.locations, console_login=session.console_login())
        return replace(summary, locations=locations)
    return summary


def _show_until(done: Callable[[], bool], board: Board, traffic: Traffic, view: View, patience_s: float) -> None:
    """Show the board until ``done``, or until ``patience_s`` seconds pass without an outcome after all was sent."""
    while not done():
        traffic.check()
        view.show(board.snapshot())
        if board.all_sent and time.monotonic() - board.progress_at > patience_s:
            break
        time.sleep(FRAME_S)
    view.show(board.snapshot())


def await_archive(settings: Settings, board: Board, run: str, patience_s: float) -> Balance:
    """Return the reconciliation with the tables, complete or after ``patience_s`` seconds without a new row."""
    topic = topic_name(settings.topic_prefix, "transactions")
    with open_archive(settings.postgres_dsn, topic, run) as tables:
        count, since = -1, time.monotonic()
        while True:
            now = tables.count(board.first_offsets)
            if now != count:
                count, since = now, time.monotonic()
            is_late = time.monotonic() - since > patience_s
            if count >= board.ledger.sent or is_late:
                result = balance(board.ledger, tables.outcomes(board.ledger, board.first_offsets))
                if result.is_balanced or is_late:  # alerts can arrive shortly after the decisions
                    return result
            time.sleep(FRAME_S)


def _unfailing(say: Say) -> Say:
    """Return ``say`` without its errors: a closed terminal must not keep the demo from stopping its processes."""

    def said(text: str) -> None:
        with suppress(OSError):
            say(text)

    return said


def _wait_for_interrupt(say: Say) -> None:
    say("Running until Ctrl-C.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _log(log: FilteringBoundLogger, summary: Summary) -> None:
    log.info(
        "demo_account",
        balanced=summary.is_balanced,
        interrupted=summary.interrupted,
        sent=summary.ledger.sent,
        kafka=[summary.kafka.decided, summary.kafka.rejected, summary.kafka.duplicates],
        postgres=[summary.postgres.decided, summary.postgres.rejected, summary.postgres.duplicates],
        alerts=summary.kafka.alerts,
        alert_p50_ms=summary.latencies.alert.p50_ms,
        alert_p99_ms=summary.latencies.alert.p99_ms,
        p50_ms=summary.latencies.readable.p50_ms,
        p99_ms=summary.latencies.readable.p99_ms,
        **summary.timings,
    )
