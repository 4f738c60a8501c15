"""Log lines have one schema and hold no card numbers, customer ids or passwords."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from api.lane import Lane
from flink_jobs.job.log import log_event
from flink_jobs.kafka.broker import Broker
from flink_jobs.logs import TRACE, json_log, log_to
from tests.unit.api.service import Memory, app_of, client

CARD, CUSTOMER, PASSWORD = "4111 1111 1111 1111", "canary-customer", "canary-password"
CANARIES = (CARD, CARD.replace(" ", ""), CUSTOMER, PASSWORD)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Yield the stream to which all loggers write."""
    stream, root = io.StringIO(), logging.getLogger()
    before = (root.handlers[:], root.level)
    log_to(stream, "api")
    yield stream
    root.handlers = before[0]
    root.setLevel(before[1])
    sys.excepthook = sys.__excepthook__


def _documents(stream: io.StringIO) -> list[dict[str, object]]:
    assert not [value for value in CANARIES if value in stream.getvalue()]
    found: list[dict[str, object]] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert found
    for document in found:
        assert {"timestamp", "level", "event", "component", "logger"} <= document.keys()
        assert str(document["timestamp"]).endswith(("+00:00", "Z"))
    return found


def test_an_exception_is_logged_without_its_text(lines: io.StringIO) -> None:
    try:
        try:
            raise ValueError(f"row {CUSTOMER} {CARD}")  # noqa: TRY301 - the cause of the next
        except ValueError as cause:
            raise psycopg.OperationalError(f"password={PASSWORD}") from cause
    except psycopg.OperationalError:
        logging.getLogger("api.any").exception("the outbox was not sent; card %s", CARD)
    (document,) = _documents(lines)
    error = document["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["cause"]["type"]) == ("psycopg.OperationalError", "ValueError")
    assert "test_logs.py" in error["where"][0]
    assert document["event"] == "the outbox was not sent; card [card number]"


def _ask(memory: Memory, **headers: str) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client(app_of(memory)) as http:
            return await http.get(f"/v1/decisions/{CARD}?customer_id={CUSTOMER}", headers=headers)

    return asyncio.run(run())


def test_a_failed_request_is_logged_with_its_ids_and_its_route(lines: io.StringIO) -> None:
    def fail(_: object) -> list[dict[str, object]]:
        raise RuntimeError(f"{CUSTOMER} {CARD} {PASSWORD}")

    memory = Memory()
    memory.tables["raw.decisions"] = fail
    assert _ask(memory, **{"X-Request-Id": "request-1", "traceparent": TRACEPARENT}).status_code == 500
    (document,) = [item for item in _documents(lines) if item["event"] == "request failed"]
    assert (document["request_id"], document["trace_id"]) == ("request-1", TRACE_ID)
    assert (document["method"], document["route"]) == ("GET", "/v1/decisions/{transaction_id:path}")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        TRACEPARENT + "1",
    ],
)
def test_an_invalid_context_of_a_trace_is_ignored(lines: io.StringIO, header: str) -> None:
    memory = Memory()
    memory.is_down = True
    assert _ask(memory, traceparent=header).status_code == 503
    assert not [item for item in _documents(lines) if "trace_id" in item]


def test_a_request_without_a_failure_writes_no_line(lines: io.StringIO) -> None:
    assert _ask(Memory()).status_code == 404
    assert lines.getvalue() == ""


def test_every_way_to_log_has_the_schema_and_masks_card_numbers(
    lines: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    written = io.StringIO()
    json_log(written, component="cli", logger="traffic").info(f"sent {CARD}", detail=[CARD], nested={"card": CARD})
    with caplog.at_level(logging.INFO, "streamflow"):
        log_event("model_unavailable", version="v1", detail=f"no file {CARD}")
    written.write(caplog.records[-1].getMessage() + "\n")
    logging.getLogger("api.x").info("found %s", CARD)
    by_json, by_job, by_formatter = _documents(io.StringIO(written.getvalue() + lines.getvalue().splitlines()[-1]))
    assert by_json["detail"] == ["[card number]"]
    assert (by_job["event"], by_job["level"], by_job["component"]) == ("model_unavailable", "warning", "detect")
    assert by_formatter["event"] == "found [card number]"


@pytest.mark.parametrize("trace", ["", TRACEPARENT])
def test_a_transaction_has_the_context_of_its_trace_only_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    sent = list[list[tuple[str, bytes]]]()

    class Recorder:
        def produce(self, _: str, *, headers: list[tuple[str, bytes]], **__: object) -> None:
            sent.append(headers)

    lane = Lane(Broker("127.0.0.1:1"), "x", 100)

    async def run() -> None:
        monkeypatch.setattr(lane, "_loop", asyncio.get_running_loop(), raising=False)
        monkeypatch.setattr(lane, "_producer", Recorder())
        TRACE.set(trace)
        lane.send(b"{}", "c-1", "request-1")

    asyncio.run(run())
    assert [value for name, value in sent[0] if name == "traceparent"] == ([trace.encode()] if trace else [])
