"""Spans, and their encoding as OTLP/JSON (``opentelemetry-proto``, ExportTraceServiceRequest)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import orjson

Value = str | bool | int | float
"""A value of an attribute."""
CONTENT_TYPE: Final = "application/json"
_SCOPE: Final = {"name": "streamflow"}
_ERROR: Final = 2


class SpanKind(IntEnum):
    """The kinds of spans that we export."""

    INTERNAL = 1
    CONSUMER = 5


class Span(NamedTuple):
    """One completed step of a trace."""

    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    start_ns: int
    """Nanoseconds since the epoch, as ``end_ns``."""
    end_ns: int
    attributes: Mapping[str, Value]
    links: tuple[tuple[str, str], ...] = ()
    """Trace and span id of each related span of another trace."""
    is_error: bool = False


def encode(resource: Mapping[str, Value], spans: Sequence[Span]) -> bytes:
    """Return the body of one request.

    Args:
        resource: attributes of the process, such as ``service.name``.
        spans: the spans to export.
    """
    return orjson.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeSpans": [{"scope": _SCOPE, "spans": [_span(span) for span in spans]}],
                }
            ]
        }
    )


def _span(span: Span) -> dict[str, Any]:
    # OTLP/JSON writes ids in hexadecimal and 64-bit numbers as text.
    document: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        document["parentSpanId"] = span.parent_id
    if span.links:
        document["links"] = [{"traceId": trace_id, "spanId": span_id} for trace_id, span_id in span.links]
    if span.is_error:
        document["status"] = {"code": _ERROR}
    return document


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
