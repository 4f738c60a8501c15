"""The Python function of the archive job: writes batches of records to Postgres, with a dead letter for each rejection.

It is a vectorised SQL function: PyFlink calls it with a batch (``BATCH_ROWS`` rows, or those of one second), and with
all remaining rows before the barrier of a checkpoint. Each transaction is flushed to disk when its commit returns. So
when a checkpoint completes, every row before its offsets is in Postgres, also after a crash of the database. A restart
writes rows again, and the upserts make them equal.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import psycopg
from pyflink.table.udf import FunctionContext, ScalarFunction

from flink_jobs.core.accounts.action import parse_action
from flink_jobs.core.dead_letters.letter import build_dlq_record, encode_dlq_record
from flink_jobs.core.label import label_problem
from flink_jobs.core.parsing.source_record import SourceRecord, unpack_record
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.job.archiver.rows import write_messages
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.job.archiver.tracing import ArchiveTracer
from flink_jobs.metrics import catalogue
from flink_jobs.tracing.exporter import SpanCounts
from flink_jobs.waiting import WaitTimeoutError, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.job.archiver.rows import Refusal
    from flink_jobs.tracing.target import TraceTarget

BATCH_ROWS: Final = 2_500
"""Most rows of one batch; larger batches need more memory and are hardly faster."""
BATCH_OPTIONS: Final = {
    "python.fn-execution.arrow.batch.size": str(BATCH_ROWS),
    # Flink waits for Python at the end of a bundle only, so it prepares the next batch while this one is written.
    "python.fn-execution.bundle.size": str(4 * BATCH_ROWS),
    "python.fn-execution.bundle.time": "1000",
}
"""Flink's options for these batches: a row waits for at most one second."""
PATIENCE_S: Final = 60.0
"""How long a batch waits for an unavailable Postgres before the job restarts; less than the checkpoint timeout."""
_RETRY_S: Final = 1.0

Placed = tuple[int, SourceRecord]
"""The index of a record in the batch, and the record."""


class ArchiveRows(ScalarFunction):  # type: ignore[misc]  # PyFlink is untyped
    """``archive_rows(topic, record)``: writes the row; returns NULL, or ``key LF dead letter`` for a rejected row."""

    def __init__(self, dsn: str, topics: dict[str, str], traces: TraceTarget | None = None) -> None:
        """Keep the settings of the worker.

        Args:
            dsn: connection string of the database role that may write, with its password.
            topics: full name of each topic by suffix.
            traces: receiver of spans; ``None``: no spans.
        """
        self._dsn = dsn
        self._topics = topics
        self._traces = traces
        self._tracer: ArchiveTracer | None = None
        self._connection: psycopg.Connection[Any] | None = None

    def open(self, function_context: FunctionContext) -> None:
        """Register the metrics; the connection is made with the first batch."""
        group = function_context.get_metric_group()
        self._rows = group.counter(catalogue.ARCHIVED_ROWS.name)
        self._refused = group.counter(catalogue.REFUSED_ROWS.name)
        if self._traces is not None:
            self._tracer = ArchiveTracer(self._traces)
            self._spans = [
                group.add_group("outcome", name).counter(catalogue.SPANS.name) for name in SpanCounts._fields
            ]

    def close(self) -> None:
        """Close the database connection, and send the last spans."""
        self._disconnect()
        if self._tracer is not None:
            self._tracer.close()

    def is_deterministic(self) -> bool:
        """Return ``False``, so that the planner neither repeats nor skips a call."""
        return False

    def eval(self, topics: pd.Series[str], packed: pd.Series[str]) -> pd.Series[str]:
        """Write a batch; return a dead letter or ``None`` for each of its records, in order."""
        self._rows.inc(0)  # both metrics exist from the first batch, whatever its outcome
        self._refused.inc(0)
        now_ms = time.time_ns() // 1_000_000
        letters: list[str | None] = [None] * len(packed)
        by_topic: defaultdict[str, list[Placed]] = defaultdict(list)
        for place, (suffix, line) in enumerate(zip(topics, packed, strict=True)):
            by_topic[suffix].append((place, unpack_record(line, self._topics[suffix])))
        for suffix, records in by_topic.items():
            record_at = dict(records)
            for place, reason, detail in self._write(suffix, records, now_ms):
                record = record_at[place]
                self._refused.inc()
                if not self._is_about_a_letter(record):
                    letters[place] = _letter(record, reason, detail, now_ms)
        return pd.Series(letters, dtype=object)

    def _write(self, suffix: str, records: Sequence[Placed], now_ms: int) -> list[tuple[int, DeadLetterReason, str]]:
        """Write the records of one topic; return index, reason and detail of each rejected record."""
        problems: list[tuple[int, DeadLetterReason, str]] = []
        places: list[int] = []
        messages: list[str] = []
        for place, record in records:
            invalid = _invalid(suffix, record, now_ms)
            if invalid is not None:
                problems.append((place, *invalid))
                continue
            text = _text(record.payload)
            if text is None:
                problems.append((place, DeadLetterReason.ROW_REFUSED, "not UTF-8 text, or it holds NUL"))
                continue
            places.append(place)
            messages.append(text)
        began_ns = time.time_ns()
        refused = self._patiently(suffix, messages)
        if self._tracer is not None and suffix == "decisions":
            self._trace(self._tracer, messages, refused, began_ns)
        self._rows.inc(len(messages) - len(refused))
        problems += [(places[item.index], DeadLetterReason.ROW_REFUSED, item.detail) for item in refused]
        return problems

    def _trace(self, tracer: ArchiveTracer, messages: list[str], refused: list[Refusal], began_ns: int) -> None:
        tracer.written(messages, {item.index for item in refused}, began_ns, time.time_ns())
        for counter, new in zip(self._spans, tracer.news(), strict=True):
            counter.inc(new)

    def _patiently(self, suffix: str, messages: Sequence[str]) -> list[Refusal]:
        """Write messages, and retry while the database is unavailable.

        Raises:
            RuntimeError: the database was unavailable for too long; the job restarts from its last checkpoint.
        """
        last = ""

        def attempt() -> tuple[list[Refusal]] | None:
            nonlocal last
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=10)
                return (write_messages(self._connection, ARCHIVE_OF[suffix], messages),)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                last = type(error).__name__
                self._disconnect()
                return None

        try:
            return wait_for(attempt, limit_s=PATIENCE_S, what="Postgres", interval_s=_RETRY_S)[0]
        except WaitTimeoutError:
            raise RuntimeError(f"Postgres accepted no rows for {PATIENCE_S:g} s ({last})") from None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _is_about_a_letter(self, record: SourceRecord) -> bool:
        """Return whether a record is a dead letter about a dead letter; its own rejection is only counted."""
        return record.topic == self._topics["dlq"] and f'"topic":"{record.topic}"'.encode() in (record.payload or b"")


def _invalid(suffix: str, record: SourceRecord, now_ms: int) -> tuple[DeadLetterReason, str] | None:
    """Return why a message that other programs may write breaks its contract; ``None`` for any other message."""
    if suffix == "labels":
        problem = label_problem(record.payload, now_ms)
        return None if problem is None else (DeadLetterReason.LABEL_INVALID, problem)
    if suffix == "user-actions":
        action = parse_action(record.payload, now_ms)
        # The detector writes the same dead letter: equal coordinates and reason give an equal id.
        return (DeadLetterReason.ACTION_INVALID, action) if isinstance(action, str) else None
    return None


def _text(payload: bytes | None) -> str | None:
    """Return a payload as text for Postgres (UTF-8 without NUL), ``None`` where it is not."""
    if payload is None or b"\0" in payload:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _letter(record: SourceRecord, reason: DeadLetterReason, detail: str, now_ms: int) -> str:
    body = build_dlq_record(record, reason, PipelineStage.ARCHIVE, detail, Disposition.INCIDENT, now_ms)
    return f"{body['dlq_id']}\n{encode_dlq_record(body)}"
