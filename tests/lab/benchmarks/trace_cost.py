"""CPU time of the detector's Python side with and without traces (docs/tracing.md).

``python -m tests.lab.benchmarks.trace_cost MODELS`` scores the same transactions in batches of 256: without headers,
and with the header ``traceparent``, of which none, 1 % or all are sampled. The exporter's thread is included. A
process of its own receives the spans. The last column counts spans that were dropped.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flink_jobs.job.detector.batch_runner import PROTOCOL, take_runner
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.native.loader import core_in_use
from flink_jobs.settings import REPO_ROOT
from flink_jobs.tracing.target import TraceTarget
from tests.integration.crossing_input import detector_settings
from tests.lab.benchmarks.batch_speed import BATCH, NoStates, record
from tests.lab.benchmarks.workload import CUSTOMERS, card_traffic
from tests.packed_batches import pack_batch
from tests.unit.job.fake_runtime import Operator

if TYPE_CHECKING:
    from tests.lab.benchmarks.workload import InputMessage

NO_HEADERS: Final = 0
"""In place of a step: the records have no headers."""
CASES: Final = {
    "no header, traces off": (NO_HEADERS, False),
    "no header, traces on": (NO_HEADERS, True),
    "header, traces off": (1, False),
    "header, none sampled": (10**9, True),
    "header, 1 % sampled": (100, True),
    "header, all sampled": (1, True),
}
"""Each so many-th record is sampled; whether traces are on."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, help="folder with one model version")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help="measure one case in this process")
    parser.add_argument("--receiver", default="", help="URL of the receiver of that case")
    parser.add_argument("--receive", action="store_true", help="receive spans until the end of the input")
    options = parser.parse_args()
    if options.receive:
        receive()
    elif options.case:
        print(json.dumps(measure(options)))  # noqa: T201 - the result of the command
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Measure every case in turn, in processes of their own, and print the smallest time of each."""
    command = [sys.executable, "-m", "tests.lab.benchmarks.trace_cost", str(options.models)]
    environment = {**os.environ, "PYTHONPATH": str(REPO_ROOT), "STREAMFLOW_CORE": "compiled"}
    receiver = subprocess.Popen([*command, "--receive"], env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert receiver.stdout is not None
    url = receiver.stdout.readline().decode().strip()
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name in CASES:
            case = [*command, "--case", name, "--receiver", url, "--events", str(options.events)]
            done = subprocess.run(case, env=environment, cwd=REPO_ROOT, check=True, capture_output=True)
            found[name].append(json.loads(done.stdout))
    receiver.terminate()
    receiver.wait()
    for name, taken in found.items():
        print(f"{name:24}{min(item[0] for item in taken):8.2f}{max(item[1] for item in taken):8}")  # noqa: T201


def measure(options: argparse.Namespace) -> tuple[float, int]:
    """Return CPU microseconds per record, and the number of dropped spans."""
    if core_in_use() != "compiled":
        raise SystemExit("the core is not compiled: run `python -m flink_jobs.native.build`")
    step, is_on = CASES[options.case]
    settings = replace(detector_settings(options.models), state_cache_customers=CUSTOMERS)
    function = FraudDetectorFunction(replace(settings, traces=TraceTarget(options.receiver) if is_on else None))
    detector = Operator(function)
    runner = take_runner(NoStates(), PROTOCOL)
    batches = packed(card_traffic(options.events), step)
    gc.collect()
    started = time.process_time()
    for batch in batches:
        runner.process(batch)
    runner.unsaved()
    detector.function.close()
    taken = time.process_time() - started
    runner.flush_metrics(sys.maxsize)
    return taken / options.events * 1e6, detector.runtime.count("spans", outcome="dropped") or 0


def packed(messages: list[InputMessage], step: int) -> list[bytes]:
    """Return batches of records; every ``step``-th is of a sampled trace."""
    records = [
        record(message.value, offset)._replace(headers=headers(offset, step) if step != NO_HEADERS else "")
        for offset, message in enumerate(messages)
    ]
    chunks = (records[at : at + BATCH] for at in range(0, len(records), BATCH))
    return [pack_batch(some, [None] * len(some)) for some in chunks]


def headers(number: int, step: int) -> str:
    """Return the headers of a record as Java packs them."""
    value = f"00-{number + 1:032x}-{number + 1:016x}-{0 if number % step else 1:02x}"
    return json.dumps({"traceparent": b64encode(value.encode()).decode()})


class Receiver(BaseHTTPRequestHandler):
    """Reads requests and accepts them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Accept a request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Write nothing."""


def receive() -> None:
    """Print the URL and receive until terminated."""
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main()
