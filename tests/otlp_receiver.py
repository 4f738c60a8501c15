"""An OTLP/HTTP receiver in the tests' process: reads protobuf and JSON with OpenTelemetry's own definitions."""

from __future__ import annotations

import gzip
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from unittest.mock import patch

from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api import tracing
from flink_jobs.tracing import exporter
from flink_jobs.tracing.target import TraceTarget

LIMIT_S = 60.0


class ReceivedSpan(NamedTuple):
    """One span as a collector sees it; ids are hexadecimal."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    is_error: bool


class ReceivedLine(NamedTuple):
    """One log line as a collector sends it."""

    resource: dict[str, Any]
    attributes: dict[str, Any]
    body: str
    severity: str
    severity_number: int
    time_ns: int
    trace_id: str


class Receiver:
    """What was received, and what is answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[ReceivedSpan] = []
        self.lines: list[ReceivedLine] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.answer = b"{}"
        self.gate = threading.Event()
        """Requests wait until it is set."""
        self.gate.set()

    @property
    def target(self) -> TraceTarget:
        return TraceTarget(self.url, {"x-token": "canary-token"})

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def of(self, trace_id: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.headers.append(headers)
        self.gate.wait(60)
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if path == "/v1/logs" and self.status == 200:
            self.lines += lines_of(ExportLogsServiceRequest.FromString(body))
        elif self.status == 200:
            assert path == "/v1/traces"
            self.spans += spans_of(request_of(headers["content-type"], body))


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.receive(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        # Limits that a busy machine does not reach: the sender's for an answer, and that for the last spans.
        with (
            patch.object(exporter, "_TIMEOUT_S", LIMIT_S),
            patch.object(tracing, "_TIMEOUT_S", LIMIT_S),
            patch.object(exporter.SpanExporter.close, "__defaults__", (LIMIT_S,)),
        ):
            yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def request_of(content_type: str, body: bytes) -> Any:  # noqa: ANN401 - the generated type is dynamic
    """Return a request; an unknown field or a value of another type raises."""
    if content_type == "application/x-protobuf":
        return ExportTraceServiceRequest.FromString(body)
    assert content_type == "application/json"
    return ParseDict(with_binary_ids(json.loads(body)), ExportTraceServiceRequest())


def with_binary_ids(value: Any) -> Any:  # noqa: ANN401
    """Write ids as protobuf's JSON does, in base64: OTLP differs from it in the ids alone."""
    if isinstance(value, list):
        return [with_binary_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: b64encode(bytes.fromhex(item)).decode()
        if name in {"traceId", "spanId", "parentSpanId"}
        else with_binary_ids(item)
        for name, item in value.items()
    }


def spans_of(request: Any) -> Iterator[ReceivedSpan]:  # noqa: ANN401
    """Yield the spans of a request."""
    for part in request.resource_spans:
        service = _values(part.resource.attributes)["service.name"]
        for span in (span for scope in part.scope_spans for span in scope.spans):
            kinds = span.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
            yield ReceivedSpan(
                service,
                span.name,
                kinds[span.kind].name.removeprefix("SPAN_KIND_").lower(),
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                _values(span.attributes),
                [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                span.status.code == 2,
            )


def lines_of(request: Any) -> Iterator[ReceivedLine]:  # noqa: ANN401
    """Yield the log lines of a request."""
    for part in request.resource_logs:
        resource = _values(part.resource.attributes)
        for line in (line for scope in part.scope_logs for line in scope.log_records):
            yield ReceivedLine(
                resource,
                _values(line.attributes),
                line.body.string_value,
                line.severity_text,
                line.severity_number,
                line.time_unix_nano,
                line.trace_id.hex(),
            )


def _values(attributes: Any) -> dict[str, Any]:  # noqa: ANN401
    found = {}
    for item in attributes:
        for kind, value in MessageToDict(item.value).items():  # none for an empty value
            found[item.key] = int(value) if kind == "intValue" else value
    return found
