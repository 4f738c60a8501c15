"""Spans in OTLP/JSON, and the thread that sends them: the caller never waits, and every span is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from flink_jobs.tracing import exporter as exporters
from flink_jobs.tracing.context import new_span_id, new_trace_id
from flink_jobs.tracing.exporter import SpanCounts, SpanExporter
from flink_jobs.tracing.spans import Span, SpanKind
from flink_jobs.tracing.target import TraceTarget
from flink_jobs.waiting import wait_for
from tests.otlp_receiver import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

NOWHERE = TraceTarget("http://127.0.0.1:9")


def span(number: int = 1, **changes: object) -> Span:
    made = Span(
        f"step {number}",
        SpanKind.CONSUMER,
        new_trace_id(),
        new_span_id(),
        new_span_id(),
        1_767_225_600_000_000_123,
        1_767_225_600_000_050_456,
        {"text": "ä", "number": 2**53, "share": 0.5, "is_alert": True},
        ((new_trace_id(), new_span_id()),),
    )
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_a_span_arrives_as_it_was(receiver: Receiver) -> None:
    sent = [span(1), span(2, parent_id="", links=(), is_error=True)]
    exporter = SpanExporter(receiver.target, "streamflow-test")
    for item in sent:
        exporter.offer(item)
    exporter.close()
    assert exporter.counts() == SpanCounts(2, 0)
    for item, got in zip(sent, receiver.spans, strict=True):
        assert got.service == "streamflow-test"
        assert (got.name, got.kind, got.is_error) == (item.name, "consumer", item.is_error)
        assert (got.trace_id, got.span_id, got.parent_id) == (item.trace_id, item.span_id, item.parent_id)
        assert (got.start_ns, got.end_ns) == (item.start_ns, item.end_ns)
        assert got.attributes == item.attributes
        assert tuple(got.links) == item.links
    assert receiver.headers[0]["x-token"] == "canary-token"


def test_the_caller_never_waits_for_a_receiver_that_does_not_answer(receiver: Receiver) -> None:
    receiver.gate.clear()
    exporter = SpanExporter(receiver.target, "streamflow-test", most_waiting=10)
    exporter.offer(span())
    wait_for(lambda: receiver.headers, limit_s=60, what="a request that waits")
    for number in range(100):
        exporter.offer(span(number))
    assert exporter.counts() == SpanCounts(0, 90)
    receiver.gate.set()
    exporter.close(60)
    assert exporter.counts() == SpanCounts(11, 90)


def test_spans_for_a_receiver_that_is_away_are_dropped_and_counted() -> None:
    exporter = SpanExporter(NOWHERE, "streamflow-test")
    for number in range(100):
        exporter.offer(span(number))
    exporter.close(60)
    assert exporter.counts() == SpanCounts(0, 100)


def test_spans_that_a_receiver_refuses_are_counted(receiver: Receiver) -> None:
    receiver.status = 503
    exporter = SpanExporter(receiver.target, "streamflow-test")
    exporter.offer(span())
    wait_for(lambda: exporter.counts() == SpanCounts(0, 1), limit_s=60, what="the refusal")
    receiver.status, receiver.answer = 200, orjson.dumps({"partialSuccess": {"rejectedSpans": "1"}})
    exporter.offer(span())
    exporter.offer(span())
    exporter.close(60)
    assert exporter.counts().dropped in {2, 3}, "one of the second request, or one of each of two requests"


def test_after_a_failure_the_pause_grows_to_its_limit_and_a_success_ends_it(receiver: Receiver) -> None:
    exporter = SpanExporter(receiver.target, "streamflow-test")
    exporter.close()
    receiver.status = 500
    pauses = []
    for _ in range(10):
        exporter.offer(span())
        exporter._send_waiting()
        pauses.append(exporter._pause_s)
    assert pauses == sorted(pauses)
    assert pauses[-1] == exporters._LONGEST_PAUSE_S
    receiver.status = 200
    exporter.offer(span())
    exporter._send_waiting()
    assert exporter._pause_s == exporters._POLL_S
    exporter._connection.close()


def test_a_target_hides_its_headers() -> None:
    assert "canary" not in repr(TraceTarget("http://collector:4318", {"authorization": "canary"}))
