"""Runs OpenTelemetry's collector with ``k8s/collector/config.yaml``, as the DaemonSet runs it on a node."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import yaml

from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.lab.platform.k8s_manifests import K8S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.otlp_receiver import ReceivedSpan

PROGRAM: Final = REPO_ROOT / ".tools/collector/otelcol"
CONFIG_FILE: Final = K8S / "collector" / "config.yaml"
CONFIG: Final[dict[str, Any]] = yaml.safe_load(CONFIG_FILE.read_text())
HEALTH_PORT: Final = 13133
METRICS_PORT: Final = 8888
START_LIMIT_S: Final = 60.0


@dataclass(frozen=True)
class Collector:
    """A running collector."""

    traces_url: str
    metrics_url: str
    log: Path

    def metrics(self) -> str:
        """Return the collector's own metrics in Prometheus' text format."""
        return httpx.get(self.metrics_url).raise_for_status().text


@contextmanager
def collecting(folder: Path, pods: Path, backend: str) -> Iterator[Collector]:
    """Run a collector that reads the log files below ``pods`` and sends all it gets to the URL ``backend``.

    Only the ports of its health and its metrics differ from the file, because other programs here may use them.
    """
    traces, health, metrics = free_ports(3)
    storage, log = folder / "storage", folder / "collector.log"
    storage.mkdir(exist_ok=True)
    ports = f"extensions: {{health_check: {{endpoint: '{HOST}:{health}'}}}}"
    reader = {"pull": {"exporter": {"prometheus": {"host": HOST, "port": metrics}}}}
    own = folder / "ports.yaml"
    own.write_text(f"{ports}\n{yaml.safe_dump({'service': {'telemetry': {'metrics': {'readers': [reader]}}}})}")
    environment = {
        "PODS_FOLDER": str(pods),
        "STORAGE_FOLDER": str(storage),
        "TRACES_ADDRESS": f"{HOST}:{traces}",
        "OTLP_ENDPOINT": backend,
    }
    with log.open("a") as output:
        running = subprocess.Popen(
            [str(PROGRAM), f"--config={CONFIG_FILE}", f"--config={own}"],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=output,
            stderr=output,
        )
    try:

        def ready() -> bool:
            assert running.poll() is None, log.read_text()
            try:
                return httpx.get(f"http://{HOST}:{health}/").is_success
            except httpx.TransportError:
                return False

        wait_for(ready, limit_s=START_LIMIT_S, what=f"the collector, whose log is {log}")
        yield Collector(f"http://{HOST}:{traces}", f"http://{HOST}:{metrics}/metrics", log)
    finally:
        running.terminate()
        running.wait(START_LIMIT_S)


def write_pod_log(folder: Path, lines: Iterable[str], long_from: int = 500) -> None:
    """Append lines as containerd does: with time and stream; a long line is written in parts."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "0.log").open("a") as file:
        for line in lines:
            parts = [line[at : at + long_from] for at in range(0, len(line), long_from)] or [""]
            for number, part in enumerate(parts, start=1):
                mark = "F" if number == len(parts) else "P"
                file.write(f"2026-11-27T13:57:49.637839123Z stderr {mark} {part}\n")


def tree(spans: Iterable[ReceivedSpan]) -> str:
    """Return a trace as indented lines: service and name of each span, its start and its length in ms."""
    ordered = sorted(spans, key=lambda span: span.start_ns)
    known = {span.span_id for span in ordered}
    first_ns = ordered[0].start_ns
    found = []

    def add(parents: set[str], depth: int) -> None:
        for span in ordered:
            is_here = span.parent_id in parents if depth else span.parent_id not in known
            if is_here:
                start, length = (span.start_ns - first_ns) / 1e6, (span.end_ns - span.start_ns) / 1e6
                name = f"{'  ' * depth}{span.service.removeprefix('streamflow-')}: {span.name}"
                found.append(f"{name:48}{start:10.2f}{length:10.2f}")
                add({span.span_id}, depth + 1)

    add(set(), 0)
    return "\n".join([f"{'':48}{'start ms':>10}{'ms':>10}", *found])
