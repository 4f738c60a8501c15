"""The spans of the archive: one for each decision of a sampled trace that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flink_jobs.tracing.context import HEADER, TraceContext, new_span_id, parse_traceparent
from flink_jobs.tracing.exporter import SpanCounts, SpanExporter
from flink_jobs.tracing.spans import Span, SpanKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from flink_jobs.tracing.spans import Value
    from flink_jobs.tracing.target import TraceTarget

SERVICE: Final = "streamflow-archive"
_FIELD: Final = f'"{HEADER}":"'
_LENGTH: Final = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


class ArchiveTracer:
    """Makes the spans of one worker of the archive."""

    def __init__(self, target: TraceTarget) -> None:
        """Start the exporter."""
        self._exporter = SpanExporter(target, SERVICE)

    def close(self) -> None:
        """Send the last spans."""
        self._exporter.close()

    def written(self, decisions: Sequence[str], refused: Collection[int], began_ns: int, ended_ns: int) -> None:
        """Make the spans of a batch of decisions.

        Args:
            decisions: the messages, JSON without spaces as the detector writes it.
            refused: the places of messages that the table refused.
            began_ns: when the batch began, ns since the epoch.
            ended_ns: when its rows were committed.
        """
        for place, decision in enumerate(decisions):
            parent = context_of(decision)
            if parent is not None and parent.is_sampled:
                attributes: dict[str, Value] = {
                    "db.system.name": "postgresql",
                    "db.collection.name": "raw.decisions",
                    "db.operation.batch.size": len(decisions),
                }
                self._exporter.offer(
                    Span(
                        "archive decision",
                        SpanKind.CONSUMER,
                        parent.trace_id,
                        new_span_id(),
                        parent.span_id,
                        began_ns,
                        ended_ns,
                        attributes,
                        is_error=place in refused,
                    )
                )

    def news(self) -> SpanCounts:
        """Return how many spans were sent and dropped since the last call."""
        return self._exporter.news()


def context_of(decision: str) -> TraceContext | None:
    """Return the context in a decision, ``None`` without one. The text is not parsed as JSON: few decisions have it."""
    at = decision.rfind(_FIELD)  # quotation marks inside a text are escaped, so this is the field
    if at < 0:
        return None
    start = at + len(_FIELD)
    return parse_traceparent(decision[start : start + _LENGTH])
