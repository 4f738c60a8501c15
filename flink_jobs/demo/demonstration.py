"""The demo from beginning to end."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.demo.archived import open_archive
from flink_jobs.demo.board import Board
from flink_jobs.demo.plan import run_prefix
from flink_jobs.demo.preparation import Session
from flink_jobs.demo.summary import Locations, Summary
from flink_jobs.demo.threads import Traffic
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
"""Longest time without any new outcome before the account is closed as it is."""
HURRIED_S = 60.0
"""The same after Ctrl-C."""
FRAME_S = 0.25
LOG_FILE = "demo.jsonl"


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom the demo tells what.

    Attributes:
        say: takes a line about progress.
        view: makes what shows the traffic, given the URL of the Flink UI.
        report: takes the account before anything is stopped; True tells that the stack runs on for now.
        metrics: of the traffic.
    """

    say: Say
    view: Callable[[str], View]
    report: Callable[[Summary, bool], None]
    metrics: TrafficMetrics


def run_demo(plan: DemoPlan, audience: Audience, model_dir: Path | None = None) -> Summary:
    """Run the demo and stop what it started, whatever happens.

    Args:
        plan: what to do.
        audience: whom to tell.
        model_dir: folder of model versions; default: ``STREAMFLOW_MODEL_DIR``, else ``models`` in the checkout.

    Raises:
        UserError: something cannot be started or does not answer.
        KeyboardInterrupt: Ctrl-C (or SIGTERM) before there was an account to make.
    """
    say = _unfailing(audience.say)
    stack = Stack(say=say)
    session = Session(stack, keep=plan.keep, say=say, secure=plan.secure)
    with handled(interrupt), ExitStack() as files:
        try:
            with session.timings.measure("preparation"):
                settings = session.prepare(model_dir or REPO_ROOT / "models", plan.data)
            run = run_prefix()
            log = json_log(files.enter_context((stack.home.logs / LOG_FILE).open("a", encoding="utf-8")), run=run)
            log.info("demo_started", events=plan.events, had_stack=session.had_stack, **session.timings.seconds)
            summary = _traffic(plan, settings, run, session, audience)
            _log(log, summary)
            stays = plan.stay and not summary.interrupted
            audience.report(summary, session.leaves_stack or stays)
            if stays:
                _wait_for_interrupt(say)
        finally:
            # Stopping takes seconds; another Ctrl-C must not leave half of it running.
            with handled(lambda: say("Still stopping ...")):
                if not plan.keep:
                    say("Stopping what the demo started ...")
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
            audience.say("Stopping; making the account of what was sent (Ctrl-C again skips it) ...")
            with audience.view(settings.flink_rest_url) as shown:
                _show_until(board.is_complete, board, traffic, shown, HURRIED_S)
        seconds = max(board.progress_at - start, 1e-9)
        in_kafka = balance(board.ledger, board.outcomes)
        with session.timings.measure("archive"):
            in_postgres = await_archive(settings, board, run, HURRIED_S if interrupted else PATIENCE_S)
    locations = Locations(
        session.stack.home.root, settings.flink_rest_url, settings.postgres_host, settings.postgres_port,
        settings.postgres_user, settings.postgres_database,
    )  # fmt: skip
    return Summary(
        run, plan.data.name, board.ledger, in_kafka, in_postgres, seconds, board.latencies(), locations,
        session.timings.seconds, interrupted,
    )  # fmt: skip


def _show_until(done: Callable[[], bool], board: Board, traffic: Traffic, view: View, patience_s: float) -> None:
    """Show the board until the condition holds, or nothing new came for ``patience_s`` seconds after all was sent."""
    while not done():
        traffic.check()
        view.show(board.snapshot())
        if board.all_sent and time.monotonic() - board.progress_at > patience_s:
            break
        time.sleep(FRAME_S)
    view.show(board.snapshot())


def await_archive(settings: Settings, board: Board, run: str, patience_s: float) -> Balance:
    """Return the account by the tables, once it balances or nothing new came for ``patience_s`` seconds."""
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
                if result.is_balanced or is_late:  # alerts may come a moment after the decisions
                    return result
            time.sleep(FRAME_S)


def _unfailing(say: Say) -> Say:
    """Return ``say`` for a terminal that may be closed: stopping goes on without anybody to tell."""

    def said(text: str) -> None:
        with suppress(OSError):
            say(text)

    return said


def _wait_for_interrupt(say: Say) -> None:
    say("Running on until Ctrl-C.")
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
        p50_ms=summary.latencies.readable.p50_ms,
        p99_ms=summary.latencies.readable.p99_ms,
        **summary.timings,
    )
