"""A real Prometheus scrapes a running cluster: every query of every dashboard must find something."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, start_http_server

from api.measures import ApiMetrics
from flink_jobs.local import ports
from flink_jobs.local.ports import HOST
from flink_jobs.local.stack import Stack
from flink_jobs.metrics import catalogue, dashboards, slos, warehouse_metrics
from flink_jobs.metrics.catalogue import MODEL_WATCH_PREFIX, MetricKind
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.monitoring.flink_metrics import FLINK_METRICS
from tests.monitoring.tools import find_tool

pytestmark = [pytest.mark.stack, pytest.mark.slow]

RUN = "watched"
LIMIT_S = 600


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus server."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        with urllib.request.urlopen(address, timeout=240) as response:  # noqa: S310 - our own server
            answer = json.load(response)
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=30):  # noqa: S310 - the same
                return True
        except OSError:
            return False


def serve_other_exporters() -> int:
    """Serve the metrics of programs that do not run here, without values.

    They are ``streamflow drift --serve``, ``streamflow marts-exporter``, the API and the optional job of merchants.
    """
    api = ApiMetrics()
    api.count(catalogue.API_REQUESTS, "200")
    registry = api.registry
    served = [(MODEL_WATCH_PREFIX, metric) for metric in catalogue.MODEL_WATCH_METRICS]
    served += [(warehouse_metrics.WAREHOUSE_PREFIX, metric) for metric in warehouse_metrics.WAREHOUSE_METRICS]
    for prefix, metric in served:
        labels = [metric.label] if metric.label else []
        kind = Counter if metric.kind is MetricKind.COUNTER else Gauge
        shown = kind(prefix + metric.name, metric.meaning, labels, registry=registry)
        (shown.labels("x") if metric.label else shown).inc(0)
    for metric in catalogue.MERCHANT_METRICS:  # a gauge, because Flink's reporter adds no suffix to counters
        labels = [metric.label] if metric.label else []
        gauge = Gauge(catalogue.prometheus_name(metric), metric.meaning, labels, registry=registry)
        (gauge.labels("x") if metric.label else gauge).set(0)
    port = ports.choose({"exporters": None}, {})["exporters"]
    start_http_server(port, HOST, registry)
    return port


@pytest.fixture(scope="module")
def prometheus(stack: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Both jobs under traffic with faults, and a Prometheus that has seen them for a while."""
    program = find_tool("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    scraped = [port for name, port in stack.record.ports.items() if name.endswith(".prometheus")]
    assert len(scraped) >= 3
    files = [slos.RULES_FILE, slos.RULES_FILE.with_name("alerts.yaml")]
    (folder / "rules.yml").write_text(yaml.safe_dump(slos.plain_rules(files)))
    targets = [f"{HOST}:{port}" for port in [*scraped, serve_other_exporters()]]
    configuration = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "streamflow", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = ports.choose({"prometheus": None}, {})["prometheus"]
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address={HOST}:{port}", "--log.level=warn"]
    with ExitStack() as running:
        prefix = jobs.own_topics(stack, "monitored")
        environment = {"STREAMFLOW_TOPIC_PREFIX": prefix, "STREAMFLOW_MODEL_DIR": str(model_dir)}
        running.enter_context(jobs.running_jobs(stack, environment))
        server = running.enter_context(subprocess.Popen(command, cwd=folder))
        running.callback(server.send_signal, signal.SIGTERM)
        asked = Prometheus(f"http://{HOST}:{port}")
        wait_for(asked.is_ready, limit_s=240, what="Prometheus")
        for part in range(3):  # a rate needs a growing counter
            events = jobs.card_events(f"{RUN}-{part}", 800)
            sent = jobs.send(stack, events, faults=FaultPlan(malformed=0.1, duplicates=0.1, seed=7), prefix=prefix)
            jobs.account(stack, sent, prefix)
        yield asked


@pytest.mark.parametrize("board", ["job", "detection", "data-platform", "slo"])
def test_every_query_finds_something(prometheus: Prometheus, board: str) -> None:
    queries = [query for query in dashboards.queries() if query.dashboard == board]
    assert len(queries) >= 9

    def nothing() -> list[str]:
        return [f"{query.panel}: {query.expr}" for query in queries if not prometheus.query(query.expr)]

    wait_for(lambda: not nothing(), limit_s=LIMIT_S, what=f"{board}: {nothing()}", interval_s=2)


def test_every_metric_of_flink_that_is_named_is_there(prometheus: Prometheus) -> None:
    def missing() -> set[str]:
        return {name for name in FLINK_METRICS if not prometheus.query(name)}

    wait_for(lambda: not missing(), limit_s=LIMIT_S, what=f"Flink to show {missing()}", interval_s=2)


def test_quantiles_can_be_taken(prometheus: Prometheus) -> None:
    """Buckets keep their bounds: a reporter that rewrites `0.5` and `+Inf` would leave NaN."""
    query = next(query for query in dashboards.queries() if query.panel == "Scores")
    (answer,) = prometheus.query(query.expr)
    assert 0 < float(answer["value"][1]) < 1
    # A machine that is busy with other tests answers some scrapes too late.
    job = 'last_over_time(flink_jobmanager_job_runningTime{job_name="streamflow-detect"}[1m]) > 0'
    wait_for(lambda: len(prometheus.query(job)) == 1, limit_s=LIMIT_S, what="the job", interval_s=2)


def test_the_objectives_hold_and_no_paging_alert_fires(prometheus: Prometheus) -> None:
    """Sooner or later: a machine that is busy with other tests answers some scrapes too late."""

    def troubles() -> list[str]:
        found = [
            name for name in ("streamflow:detect_runs:bool", "streamflow:archive_is_fresh:bool")
            if [item["value"][1] for item in prometheus.query(name)] != ["1"]
        ]  # fmt: skip
        alerts = 'ALERTS{alertname=~"DetectorDown|ArchiveDown|DecisionsDegraded", alertstate="firing"}'
        return found + [item["metric"]["alertname"] for item in prometheus.query(alerts)]

    wait_for(lambda: not troubles(), limit_s=LIMIT_S, what=f"an end of {troubles()}", interval_s=2)
