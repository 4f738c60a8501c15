"""The threads of the demo: one sends records, one reads outcomes, one polls Flink and Postgres."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import psycopg

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.demo.archived import open_archive
from flink_jobs.demo.board import ClusterView
from flink_jobs.demo.plan import card_events
from flink_jobs.demo.steady_pace import SteadyPace
from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.traffic.outcomes import OUTPUTS, output_ends
from flink_jobs.traffic.replay import ReplayPlan, replay

if TYPE_CHECKING:
    from types import TracebackType

    from flink_jobs.demo.archived import ArchivedOutcomes
    from flink_jobs.demo.board import Board
    from flink_jobs.demo.plan import DemoPlan
    from flink_jobs.kafka.consumer import Position
    from flink_jobs.settings import Settings

READ_EVERY_S = 0.05
ASK_EVERY_S = 1.0
DETECTOR_TASK = "fraud detector"


class Traffic:
    """Runs the three threads during a ``with`` block.

    At the end of the block the sender stops first, after all records that it sent are delivered; then the others stop.
    """

    def __init__(self, plan: DemoPlan, settings: Settings, run: str, board: Board, detector: str) -> None:
        """Set the plan; nothing starts yet. ``detector`` is the id of the detector job."""
        self._plan = plan
        self._settings = settings
        self._run = run
        self._board = board
        self._detector = detector
        self._steady = SteadyPace()
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="demo")
        self._stop = threading.Event()
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Start the threads; the reader starts at the current end of the output topics and skips earlier runs."""
        start = output_ends(self._settings.broker("traffic"), self._settings.topic_prefix)
        self._running = [
            self._pool.submit(self._read, start),
            self._pool.submit(self._ask),
            self._pool.submit(self._send),
        ]
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        self._board.end.set()
        self._stop.set()
        self._pool.shutdown()

    def check(self) -> None:
        """Raise the exception of a thread that failed, if one did."""
        for future in self._running:
            if future.done():
                future.result()

    def _send(self) -> None:
        settings, plan = self._settings, self._plan
        events = card_events(plan.data, self._run)
        replay(
            events,
            ReplayPlan(plan.pace or self._steady, plan.faults, plan.events),
            settings.broker("traffic"),
            settings.topic_prefix,
            ledger=self._board.ledger,
            watcher=self._board,
        )
        self._board.progress_at = time.monotonic()
        self._board.all_sent = True

    def _read(self, start: dict[Position, int]) -> None:
        topics = [topic_name(self._settings.topic_prefix, suffix) for suffix in OUTPUTS]
        with CommittedReader(self._settings.broker("traffic"), topics, start) as reader:
            while not self._stop.wait(READ_EVERY_S):
                self._board.take_early()
                for record in reader.read_to_end():
                    self._board.take(record, time.time())

    def _ask(self) -> None:
        rest = FlinkRest(self._settings.flink_rest_url, timeout_s=3)
        topic = topic_name(self._settings.topic_prefix, "transactions")
        with open_archive(self._settings.postgres_dsn, topic, self._run) as tables:
            before = 0
            while not self._stop.wait(ASK_EVERY_S):
                self._steady.adjust(time.monotonic(), *self._board.sent_and_answered())
                view = ask(rest, self._detector, tables, self._board)
                # Flink counts each checkpoint of a job that is still starting as failed; these are no failures.
                if not view.checkpoints:
                    before = view.failed_checkpoints
                self._board.cluster = replace(view, failed_checkpoints=max(0, view.failed_checkpoints - before))


def ask(rest: FlinkRest, detector: str, tables: ArchivedOutcomes, board: Board) -> ClusterView:
    """Return the current values of Flink and Postgres, without those of a part that does not answer: it may restart."""
    try:
        archived: int | None = tables.count(dict(board.first_offsets))
    except psycopg.Error:
        archived = None
    try:
        state, checkpoints = rest.state(detector), rest.checkpoints(detector)
        task = rest.vertex_metrics(detector, lambda name: name.startswith(DETECTOR_TASK), ["busyTimeMsPerSecond"])
    except (UserError, FlinkRestError):
        return ClusterView(archived=archived)
    busy = task.get("busyTimeMsPerSecond", math.nan)
    return ClusterView(
        state=state,
        busy=None if math.isnan(busy) else min(1.0, busy / 1_000),
        checkpoints=checkpoints.completed,
        failed_checkpoints=checkpoints.failed,
        checkpoint_age_s=checkpoints.age_s(time.time() * 1_000),
        checkpoint_ms=checkpoints.last_duration_ms,
        state_bytes=checkpoints.last_size_bytes,
        archived=archived,
    )
