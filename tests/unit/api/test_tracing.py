"""Spans of the API: the request, the message to Kafka and the wait for the reply are one trace."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from api.application import create_app
from api.lane import Lane
from api.measures import ApiMetrics
from api.tracing import Tracing
from flink_jobs.kafka.broker import Broker
from flink_jobs.logs import TRACE
from flink_jobs.settings import REPO_ROOT
from flink_jobs.tracing.target import TraceTarget
from tests.otlp_receiver import Receiver, receiving
from tests.unit.api.service import TRANSACTION, Memory, client, services
from tests.unit.api.test_transactions import DECIDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import Producer

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def metric(metrics: ApiMetrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("streamflow_api_spans_total", {"outcome": outcome}) or 0.0


def ask(target: TraceTarget, sample: float, headers: dict[str, str], memory: Memory | None = None) -> ApiMetrics:
    """Send a transaction to an application with spans, and a request for its health; end the application."""
    memory = memory or Memory()
    memory.kafka.reply = DECIDED
    parts = services(memory, deadline_ms=5_000)
    tracing = Tracing(target, sample, parts.metrics)

    async def session() -> None:
        async with client(create_app(replace(parts, tracing=tracing))) as http:
            await http.post("/v1/transactions", json=TRANSACTION, headers=headers)
            await http.get("/health/live", headers=headers)

    asyncio.run(session())
    tracing.stop()
    return parts.metrics


def test_a_request_of_a_sampled_trace_has_a_span(receiver: Receiver) -> None:
    metrics = ask(receiver.target, 0.0, {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"})
    (span,) = receiver.spans
    assert (span.trace_id, span.parent_id, span.kind) == (TRACE_ID, SPAN_ID, "server")
    assert (span.service, span.name) == ("streamflow-api", "POST /v1/transactions")
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/transactions",
        "http.response.status_code": 200,
        "streamflow.action": "review",
        "streamflow.decided_by": "job",
    }
    assert (metric(metrics, "ended"), metric(metrics, "sent"), metric(metrics, "failed")) == (1, 1, 0)
    assert receiver.headers[0]["x-token"] == "canary-token"


@pytest.mark.parametrize("headers", [{}, {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}])
def test_the_share_is_for_requests_without_a_trace_and_the_caller_decides_for_the_others(
    receiver: Receiver, headers: dict[str, str]
) -> None:
    ask(receiver.target, 0.0, headers)
    assert receiver.spans == []
    ask(receiver.target, 1.0, headers)
    assert len(receiver.spans) == (0 if headers else 1)


def test_a_failed_request_is_an_error(receiver: Receiver) -> None:
    memory = Memory()
    memory.is_down = True
    ask(receiver.target, 1.0, {}, memory)
    (span,) = receiver.spans
    assert (span.is_error, span.attributes["http.response.status_code"]) == (True, 503)


def test_spans_for_a_receiver_that_refuses_are_counted(receiver: Receiver) -> None:
    receiver.status = 400
    assert metric(ask(receiver.target, 1.0, {}), "failed") == 1


class Recorder:
    """A producer that keeps messages."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def produce(self, topic: str, **message: Any) -> None:  # noqa: ANN401 - confluent-kafka's signature
        self.sent.append({"topic": topic, **message})


class Failure:
    def name(self) -> str:
        return "_MSG_TIMED_OUT"


def exchange(tracing: Tracing, headers: str, act: Callable[[Lane, dict[str, Any]], None]) -> dict[str, bytes]:
    """Send a transaction inside a request, let the producer or the job answer, and return the headers in Kafka."""
    lane, recorder = Lane(Broker("127.0.0.1:1"), "x", 100, tracer=tracing), Recorder()

    async def run() -> None:
        lane._loop = asyncio.get_running_loop()
        lane._producer = cast("Producer", recorder)
        TRACE.set(headers)  # as the middleware does
        request = tracing.request("POST", headers)
        pending = lane.send(b"{}", "c-1", "request-1")
        act(lane, recorder.sent[0])
        await asyncio.sleep(0)
        lane.forget("request-1")
        request.end("/v1/transactions", 200, {})
        assert pending.acknowledged.done()

    asyncio.run(run())
    return dict(recorder.sent[0]["headers"])


def replied(lane: Lane, message: dict[str, Any]) -> None:
    message["on_delivery"](None, None)
    lane._arrived([orjson.dumps({"request_id": "request-1"})])


def test_sending_and_waiting_for_the_reply_are_spans_below_the_request(receiver: Receiver) -> None:
    tracing = Tracing(receiver.target, 1.0, ApiMetrics())
    headers = exchange(tracing, "", replied)
    tracing.stop()
    spans = {span.kind: span for span in receiver.spans}
    server, producer, reply = spans["server"], spans["producer"], spans["consumer"]
    assert {span.trace_id for span in receiver.spans} == {server.trace_id}
    assert (server.parent_id, producer.parent_id, reply.parent_id) == ("", server.span_id, server.span_id)
    assert (producer.name, reply.name) == ("send x.transactions", "receive x.replies")
    assert headers["traceparent"].decode() == f"00-{server.trace_id}-{producer.span_id}-01"
    assert reply.start_ns == producer.start_ns


def test_a_message_that_is_not_acknowledged_is_an_error(receiver: Receiver) -> None:
    tracing = Tracing(receiver.target, 1.0, ApiMetrics())
    exchange(tracing, "", lambda _, message: message["on_delivery"](Failure(), None))
    tracing.stop()
    assert [(span.kind, span.is_error) for span in receiver.spans] == [("producer", True), ("server", False)]


@pytest.mark.parametrize("headers", ["", f"00-{TRACE_ID}-{SPAN_ID}-00"])
def test_a_request_that_is_not_sampled_passes_the_callers_context_on(receiver: Receiver, headers: str) -> None:
    tracing = Tracing(receiver.target, 0.0, ApiMetrics())
    assert exchange(tracing, headers, replied).get("traceparent", b"").decode() == headers
    tracing.stop()
    assert receiver.spans == []


def test_without_a_receiver_no_package_of_opentelemetry_is_loaded() -> None:
    program = "import sys, api.server; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO_ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
