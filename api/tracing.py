"""The spans of the API, made by OpenTelemetry's SDK. Loaded only where spans are exported (ADR 39)."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from flink_jobs.logs import CONTEXT, TRACE
from flink_jobs.metrics import catalogue
from flink_jobs.tracing.context import TraceContext, parse_traceparent
from flink_jobs.tracing.target import PATH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import Span, Tracer

    from api.measures import ApiMetrics
    from flink_jobs.tracing.spans import Value
    from flink_jobs.tracing.target import TraceTarget

SERVICE: Final = "streamflow-api"
_TIMEOUT_S: Final = 5.0
_FAILED: Final = 500


class _Counted(SpanExporter):
    """Counts the spans that the receiver accepted, and the others."""

    def __init__(self, exporter: SpanExporter, metrics: ApiMetrics) -> None:
        self._exporter = exporter
        self._metrics = metrics

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        outcome = "sent" if result is SpanExportResult.SUCCESS else "failed"
        self._metrics.count(catalogue.API_SPANS, outcome, len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Queue(BatchSpanProcessor):
    """The SDK's bounded queue, which drops spans when it is full; counts the spans that it gets."""

    def __init__(self, exporter: SpanExporter, metrics: ApiMetrics) -> None:
        super().__init__(exporter, schedule_delay_millis=1_000)
        self._api_metrics = metrics

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._api_metrics.count(catalogue.API_SPANS, "ended")
        super().on_end(span)


class RequestSpan:
    """The span of one HTTP request."""

    def __init__(self, span: Span, method: str) -> None:
        """Set the context of the request: its log lines name the trace, its messages to Kafka belong to it."""
        self._span = span
        self._method = method
        if span.is_recording():
            context = context_of(span)
            CONTEXT.set({**CONTEXT.get(), "trace_id": context.trace_id})
            TRACE.set(context.text)

    def end(self, route: str, status: int, noted: Mapping[str, Value]) -> None:
        """End the span.

        Args:
            route: the path of the route, which has no ids.
            status: the status of the answer; 0 without one.
            noted: attributes that the route adds.
        """
        if self._span.is_recording():
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attributes(
                {"http.request.method": self._method, "http.route": route, "http.response.status_code": status, **noted}
            )
            if status >= _FAILED or not status:
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class SendSpans:
    """The spans of one transaction: sent to Kafka, and answered by the job."""

    def __init__(self, tracer: Tracer, parent: TraceContext, topic: str) -> None:
        """Start the span of the producer."""
        self._tracer = tracer
        self._parent = _remote(parent)
        self._sent_ns = time.time_ns()
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
        }
        self._send = tracer.start_span(
            f"send {topic}", self._parent, SpanKind.PRODUCER, attributes, start_time=self._sent_ns
        )
        self.traceparent = context_of(self._send).text
        """The header of the message."""

    def acknowledged(self, error: str | None) -> None:
        """End the span of the producer; call it once, from any thread."""
        if error is not None:
            self._send.set_status(Status(StatusCode.ERROR, error))
        self._send.end()

    def replied(self, topic: str) -> None:
        """Make the span of the wait for the job's reply."""
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "receive",
            "messaging.destination.name": topic,
        }
        self._tracer.start_span(
            f"receive {topic}", self._parent, SpanKind.CONSUMER, attributes, start_time=self._sent_ns
        ).end()


class Tracing:
    """Makes and exports the spans of one process."""

    def __init__(self, target: TraceTarget, sample: float, metrics: ApiMetrics) -> None:
        """Start the exporter's thread; it connects with the first span.

        Args:
            target: the receiver.
            sample: share of the requests without a caller's trace that are sampled, 0 to 1.
            metrics: count spans.
        """
        exporter = OTLPSpanExporter(
            target.endpoint.rstrip("/") + PATH, headers=dict(target.headers), timeout=_TIMEOUT_S
        )
        self._provider = TracerProvider(
            ParentBased(TraceIdRatioBased(sample)),
            Resource(
                {
                    "service.name": SERVICE,
                    "service.namespace": "streamflow",
                    "service.instance.id": socket.gethostname(),
                }
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(_Queue(_Counted(exporter, metrics), metrics))
        self._tracer = self._provider.get_tracer("streamflow")

    def request(self, method: str, traceparent: str) -> RequestSpan:
        """Start the span of a request.

        Args:
            method: the HTTP method.
            traceparent: the caller's header, empty without one; an invalid one is ignored.
        """
        caller = parse_traceparent(traceparent)
        parent = Context() if caller is None else _remote(caller)
        return RequestSpan(self._tracer.start_span(method, parent, SpanKind.SERVER), method)

    def sending(self, topic: str) -> SendSpans | None:
        """Start the spans of a transaction that is sent; ``None`` if the request's trace is not sampled."""
        parent = parse_traceparent(TRACE.get())
        return SendSpans(self._tracer, parent, topic) if parent is not None and parent.is_sampled else None

    def stop(self) -> None:
        """Export the last spans."""
        self._provider.shutdown()


def context_of(span: Span) -> TraceContext:
    """Return the context of a span."""
    context = span.get_span_context()
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)


def _remote(context: TraceContext) -> Context:
    """Return OpenTelemetry's form of the context of a span before."""
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    known = SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(known), Context())
