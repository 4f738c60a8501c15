"""The spans of the detector: one for each record of a sampled trace, with a link to the batch that scored it.

A span has no card data: the customer's and the transaction's id are one digest, as in the request id of the API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from flink_jobs.core.decision import transaction_digest
from flink_jobs.metrics import catalogue
from flink_jobs.tracing.context import TraceContext, new_span_id, new_trace_id, sampled_context
from flink_jobs.tracing.exporter import SpanExporter
from flink_jobs.tracing.spans import Span, SpanKind, Value

if TYPE_CHECKING:
    from flink_jobs.core.documents import DecisionDocument
    from flink_jobs.core.outcome import Outcome
    from flink_jobs.core.parsing.source_record import SourceRecord
    from flink_jobs.job.detector.detector_metrics import DetectorMetrics
    from flink_jobs.tracing.target import TraceTarget

SERVICE: Final = "streamflow-detect"
DECISION_WITH_TRACE: Final = 4
"""Schema version of a decision with the context of a trace."""
_BANDS: Final = 10


class _Batch(NamedTuple):
    """The span of the present batch."""

    trace_id: str
    span_id: str


class DetectorTracer:
    """Makes the spans of one parallel instance of the detector."""

    def __init__(self, target: TraceTarget, metrics: DetectorMetrics, clock_ns: Callable[[], int]) -> None:
        """Start the exporter.

        Args:
            target: the receiver of spans.
            metrics: counts sent and dropped spans.
            clock_ns: the clock, ns since the epoch.
        """
        self._exporter = SpanExporter(target, SERVICE)
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._batch: _Batch | None = None
        self._batch_began_ns = 0
        metrics.before_flush(self._count)

    def close(self) -> None:
        """Send the last spans."""
        self._exporter.close()

    def decision_of(self, record: SourceRecord, outcome: Outcome, began_ns: int) -> str | None:
        """Make the span of a record, if its trace is sampled; return its decision, then with the span's context.

        Args:
            record: a record with headers.
            outcome: its outcome.
            began_ns: when its turn came.
        """
        parent = sampled_context(record.headers)
        if parent is None:
            return outcome.decision
        if self._batch is None and self._batch_began_ns:
            self._batch = _Batch(new_trace_id(), new_span_id())
        span = TraceContext(parent.trace_id, new_span_id(), is_sampled=True)
        attributes = _place(record, began_ns)
        decision = outcome.decision
        if decision is not None:
            document: DecisionDocument = orjson.loads(decision)
            attributes |= _of_decision(document)
            document["schema_version"] = max(document["schema_version"], DECISION_WITH_TRACE)
            document["traceparent"] = span.text
            decision = orjson.dumps(document).decode()
        elif outcome.letters:
            letter = outcome.letters[-1]
            attributes |= {
                "streamflow.outcome": letter.disposition.value,
                "streamflow.reason": letter.reason.value,
                "streamflow.dlq_id": letter.id,
            }
        self._exporter.offer(
            Span(
                "score transaction",
                SpanKind.CONSUMER,
                span.trace_id,
                span.span_id,
                parent.span_id,
                began_ns,
                self._clock_ns(),
                attributes,
                () if self._batch is None else (self._batch,),
            )
        )
        return decision

    def begin_batch(self) -> None:
        """Note that a batch begins: its records get a link to it."""
        self._batch_began_ns = self._clock_ns()

    def end_batch(self, records: int) -> None:
        """Make the span of the batch, if one of its records has a span."""
        batch, self._batch = self._batch, None
        began_ns, self._batch_began_ns = self._batch_began_ns, 0
        if batch is not None:
            attributes: dict[str, Value] = {"messaging.system": "kafka", "messaging.batch.message_count": records}
            self._exporter.offer(
                Span("score batch", SpanKind.INTERNAL, *batch, "", began_ns, self._clock_ns(), attributes)
            )

    def _count(self) -> None:
        """Count what the exporter did since the last call."""
        news = self._exporter.news()
        if any(news):
            self._metrics.count(catalogue.SPANS, "sent", news.sent)
            self._metrics.count(catalogue.SPANS, "dropped", news.dropped)


def _place(record: SourceRecord, began_ns: int) -> dict[str, Value]:
    """Return the coordinates of a record, and how long it waited in Kafka and Flink."""
    place: dict[str, Value] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
    timestamp_ms = record.timestamp_ms
    if timestamp_ms is not None:
        place["streamflow.waited_ms"] = began_ns // 1_000_000 - timestamp_ms
    return place


def _of_decision(decision: DecisionDocument) -> dict[str, Value]:
    """Return what a span tells about a decision."""
    low = min(int(decision["score"] * _BANDS), _BANDS - 1) / _BANDS
    found: dict[str, Value] = {
        "streamflow.outcome": "decided",
        "streamflow.transaction": transaction_digest(decision["customer_id"], decision["transaction_id"]),
        "streamflow.score_band": f"{low:.1f}-{low + 1 / _BANDS:.1f}",
        "streamflow.is_alert": decision["is_alert"],
        "streamflow.model": decision["model"],
        "streamflow.model_version": decision["model_version"] or "",
        "streamflow.variant": decision["variant"],
        "streamflow.config_revision": decision["config_revision"],
    }
    if actions := decision.get("actions"):
        found["streamflow.action"] = actions[0]["action"]
    return found
