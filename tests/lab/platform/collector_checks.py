"""``make collector-check``: OpenTelemetry's collector ships the logs and one trace of a real stack, as it is deployed.

``make test`` does not collect this file, because the first build of the collector takes minutes.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from api.keys import Scope, create_key
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.lab.platform.collector import PROGRAM, Collector, collecting, tree, write_pod_log
from tests.lab.platform.k8s_manifests import K8S, build, of_kind
from tests.lab.platform.test_flink_logs import flink_lines
from tests.monitoring.test_rules import names
from tests.otlp_receiver import ReceivedLine, ReceivedSpan, Receiver, receiving
from tests.stack_folder import stack_folder
from tests.unit.job.samples import write_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.lab.platform.k8s_manifests import Manifest

PARTS = {
    ("streamflow-api", "server"),
    ("streamflow-api", "producer"),
    ("streamflow-detect", "consumer"),
    ("streamflow-api", "consumer"),
    ("streamflow-archive", "consumer"),
}
SEVERITY = {"debug": 5, "info": 9, "warn": 13, "warning": 13, "error": 17, "critical": 21, "fatal": 21}
RULES = of_kind(build(K8S / "collector"), "PrometheusRule")[0]["spec"]["groups"][0]["rules"]
PATIENCE_S = 240.0
LINES = 300


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Yield the place that the collector sends logs to."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pods' log files."""
    return tmp_path_factory.mktemp("pods")


@pytest.fixture(scope="module")
def collector(receiver: Receiver, pods: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """Yield a running collector."""
    assert PROGRAM.exists(), "run `make collector-check`, which builds the collector"
    with collecting(tmp_path_factory.mktemp("collector"), pods, receiver.url) as collector:
        yield collector


@pytest.fixture(scope="module")
def stack(collector: Collector) -> Iterator[Stack]:
    """Yield a stack whose API sends spans to the collector."""
    with stack_folder("collector") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMFLOW_TRACES_ENDPOINT", collector.traces_url)
        patch.setenv("STREAMFLOW_TRACES_SAMPLE", "0")
        stack = Stack(folder / "home")
        try:
            stack.up(["postgres", "kafka", "flink", "api"], taskmanagers=2)
            yield stack
        finally:
            stack.down(wipe=True)


def client(stack: Stack) -> httpx.Client:
    """Return a client of the stack's API."""
    key = create_key(stack.settings().postgres_dsn, "check", list(Scope), created_by="pytest")
    url = f"http://127.0.0.1:{stack.record.ports['api']}"
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def traced() -> tuple[str, dict[str, str]]:
    """Return a new sampled trace, and the header of its first request."""
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}


def test_one_transaction_is_one_trace_from_the_api_to_the_archive(
    stack: Stack, receiver: Receiver, tmp_path: Path
) -> None:
    write_model(tmp_path, "v1")
    environment = {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        "STREAMFLOW_MODEL_DIR": str(tmp_path),
        "STREAMFLOW_MODEL_VERSION": "v1",
    }

    def decided() -> str | None:
        trace_id, headers = traced()
        sent = {
            "transaction_id": trace_id,
            "customer_id": "trace-1",
            "amount_minor": 1_999,
            "currency": "USD",
            "event_time_ms": time.time_ns() // 1_000_000,
        }
        answer = http.post("/v1/transactions?deadline_ms=5000", json=sent, headers=headers)
        assert answer.status_code == 200, answer.text
        return trace_id if answer.json()["decided_by"] == "job" else None

    with (
        jobs.running_job(stack, "archive", environment),
        jobs.running_job(stack, "detect", environment),
        client(stack) as http,
    ):
        wait_for(lambda: http.get("/health/ready").json()["replies"], limit_s=60, what="the reader of replies")
        wait_for(decided, limit_s=PATIENCE_S, what="a decision of the job")
        trace_id = wait_for(decided, limit_s=PATIENCE_S, what="one more")  # without the first one's set-up
        spans = wait_for(
            lambda: complete(receiver, trace_id), limit_s=PATIENCE_S, what="the spans of all parts of the trace"
        )
    sys.stdout.write(f"\n{tree(spans)}\n")
    by_id = {span.span_id: (span.service, span.kind) for span in spans}
    parents = {(span.service, span.kind): by_id.get(span.parent_id) for span in spans}
    assert parents == {
        ("streamflow-api", "server"): None,
        ("streamflow-api", "producer"): ("streamflow-api", "server"),
        ("streamflow-api", "consumer"): ("streamflow-api", "server"),
        ("streamflow-detect", "consumer"): ("streamflow-api", "producer"),
        ("streamflow-archive", "consumer"): ("streamflow-detect", "consumer"),
    }
    (kept,) = jobs.rows(stack, "SELECT traceparent FROM raw.decisions WHERE transaction_id = %s", trace_id)
    detector = next(span for span in spans if span.service == "streamflow-detect")
    assert kept["traceparent"] == f"00-{trace_id}-{detector.span_id}-01"


def complete(receiver: Receiver, trace_id: str) -> list[ReceivedSpan] | None:
    """Return the spans of a trace once the collector has sent those of each part."""
    spans = receiver.of(trace_id)
    return spans if {(span.service, span.kind) for span in spans} == PARTS else None


def test_the_collector_reads_every_line_of_a_stack_once(
    stack: Stack,
    receiver: Receiver,
    pods: Path,
    collector: Collector,
    overlays: Mapping[str, list[Manifest]],
    tmp_path: Path,
) -> None:
    trace_id, headers = traced()
    with client(stack) as http:
        assert http.get("/v1/decisions/x?customer_id=c", headers=headers).status_code == 404
        os.kill(stack.record.processes["postgres"].pid, signal.SIGINT)
        wait_for(
            lambda: http.get("/v1/decisions/x?customer_id=c", headers=headers).status_code == 503,
            limit_s=60,
            what="an API without Postgres",
        )
    api = stack.home.logs / "api.log"
    wait_for(lambda: "request failed" in api.read_text(), limit_s=60, what="the line, which follows the answer")
    (engine,) = stack.home.logs.glob("flink-taskmanager-1-*.log")
    sources = {"api-0": api, "taskmanager-1": engine}
    written = {name: path.read_text().splitlines() for name, path in sources.items()}
    written["detect-0"] = flink_lines(overlays, tmp_path).splitlines()
    for name, lines in written.items():
        assert lines, name
        write_pod_log(pods / f"streamflow_{name}_3f5a8f5e-0000-4000-8000-000000000000" / "main", lines)
    count = sum(map(len, written.values()))
    wait_for(lambda: len(receiver.lines) >= count, limit_s=60, what=f"all lines; see {collector.log}")
    for name, lines in written.items():
        got = [line for line in receiver.lines if line.resource["k8s.pod.name"] == name]
        assert [line.body for line in got] == lines
        for line in got:
            assert (line.resource["k8s.namespace.name"], line.resource["k8s.container.name"]) == ("streamflow", "main")
            check_line(line)
    for metric in {name for rule in RULES for name in names(rule["expr"])} - {"up"}:
        assert f"\n{metric}{{" in collector.metrics(), "an alert names it"
    failed = [line for line in receiver.lines if line.attributes.get("event") == "request failed"]
    assert {(line.trace_id, line.attributes["status"]) for line in failed} == {(trace_id, 503)}


def check_line(line: ReceivedLine) -> None:
    """Check that time, level and trace of a JSON line are those of the record."""
    if not line.body.startswith("{"):
        assert "event" not in line.attributes
        return
    document = json.loads(line.body)
    assert line.severity_number == SEVERITY[document["level"]], line
    moment = datetime.fromisoformat(document["timestamp"])
    assert abs(line.time_ns / 1e9 - moment.timestamp()) < 0.001
    assert line.trace_id == document.get("trace_id", "")
    assert line.attributes["event"] == document["event"]


def test_an_outage_of_the_backend_and_a_restart_neither_lose_nor_repeat_a_line(tmp_path: Path) -> None:
    pods, place = tmp_path / "pods", "streamflow_api-1_3f5a8f5e-0000-4000-8000-000000000001/main"

    def write(first: int) -> None:
        line = '{"timestamp": "2026-11-27T13:57:49.637839+00:00", "level": "info", "event": "line %d"}'
        write_pod_log(pods / place, (line % number for number in lines_from(first)))

    with receiving() as backend:

        def sent() -> list[str]:
            return sorted(line.attributes["event"] for line in backend.lines)

        with collecting(tmp_path, pods, backend.url):
            write(0)
            wait_for(lambda: len(sent()) >= LINES, limit_s=60, what="the first lines")
            backend.status = 503
            write(LINES)
            asked = len(backend.headers)
            wait_for(lambda: len(backend.headers) > asked, limit_s=60, what="an attempt to send")
        write(2 * LINES)  # while no collector runs
        backend.status = 200
        with collecting(tmp_path, pods, backend.url):
            wait_for(lambda: len(sent()) >= 3 * LINES, limit_s=120, what="all lines")
        assert sent() == sorted(f"line {number}" for start in (0, LINES, 2 * LINES) for number in lines_from(start))


def lines_from(first: int) -> range:
    """Return the numbers of one part of the lines."""
    return range(first, first + LINES)
