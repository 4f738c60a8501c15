"""CPU time of the Python side of the batched crossing, for valid records and for each kind of malformed record.

``python -m tests.lab.benchmarks.batch_speed MODELS`` packs records as Java does, hands them to the detector in batches
of 256 and prints the CPU microseconds per record. No stack runs, so the figures also hold on a shared machine.
``--against FOLDER`` measures another checkout (``git worktree add FOLDER REVISION``) in turn: first column this one,
second column the other one, last column their ratio. Each checkout needs a compiled core.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES
from flink_jobs.job.detector.batch_runner import PROTOCOL, BatchRunner, take_runner
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.native.loader import core_in_use
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.faults import malformed
from flink_jobs.traffic.malformed import MALFORMED_KINDS
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from tests.integration.crossing_input import detector_settings
from tests.lab.benchmarks.variants import GARBAGE
from tests.lab.benchmarks.workload import CUSTOMERS, InputMessage, card_traffic
from tests.packed_batches import pack_batch
from tests.strategies import TOPIC
from tests.unit.job.fake_runtime import Operator

BATCH: Final = 256
EACH: Final = 2_048
"""Records of each kind of malformed record."""
CLEAN, MIXED, ONLY = "clean", f"{GARBAGE:.0%} garbage", "garbage"
_ID: Final = re.compile(rb'"customer_id":"([^"\\]+)"')


class NoStates:
    """Java's side: a backend without a state."""

    def read(self, index: int) -> bytes | None:  # noqa: ARG002
        return None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, help="folder with one model version")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, which is measured in turn")
    parser.add_argument("--once", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(measure(options.models, options.events)))  # noqa: T201 - the result of the command
        return
    folders = [REPO_ROOT, *([options.against.resolve()] if options.against else [])]
    rounds = [[in_own_process(folder, options) for folder in folders] for _ in range(options.rounds)]
    for name in rounds[0][0]:
        times = [median(taken[place][name] for taken in rounds) for place in range(len(folders))]
        ratio = median(taken[-1][name] / taken[0][name] for taken in rounds)
        print(f"{name:24}", *(f"{value:8.2f}" for value in times), f"{ratio:8.2f}")  # noqa: T201


def in_own_process(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Measure a checkout with this file in a process of its own."""
    command = [sys.executable, __file__, str(options.models), "--once", "--events", str(options.events)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "STREAMFLOW_CORE": "compiled"}
    done = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
    times: dict[str, float] = json.loads(done.stdout)
    return times


def measure(models: Path, events: int) -> dict[str, float]:
    """Return CPU microseconds per record of clean traffic, traffic with garbage, garbage alone, and each kind of it."""
    if core_in_use() != "compiled":
        raise SystemExit("the core is not compiled: run `python -m flink_jobs.native.build`")
    rng = Random(1)  # noqa: S311 - repeatable
    sources = [event for event, _ in zip(simulate(SimulationPlan(customers=CUSTOMERS)), range(EACH), strict=False)]
    inputs = {CLEAN: card_traffic(events), MIXED: card_traffic(events, garbage=GARBAGE)}
    kinds = {
        kind.name: [InputMessage(b"", malformed(kind, event, rng).value) for event in sources]
        for kind in MALFORMED_KINDS
    }
    found = {}
    for name, messages in (inputs | kinds).items():
        runner = opened(models)
        batches = packed(messages)
        gc.collect()
        started = time.process_time()
        for batch in batches:
            runner.process(batch)
        runner.unsaved()
        found[name] = (time.process_time() - started) / len(messages) * 1e6
    weight = sum(kind.weight for kind in MALFORMED_KINDS)
    found[ONLY] = sum(found[kind.name] * kind.weight for kind in MALFORMED_KINDS) / weight
    return found


def opened(models: Path) -> BatchRunner:
    """Return the runner of an open detector that knows no customer."""
    Operator(FraudDetectorFunction(replace(detector_settings(models), state_cache_customers=CUSTOMERS)))
    return take_runner(NoStates(), PROTOCOL)


def packed(messages: list[InputMessage]) -> list[bytes]:
    """Return batches of records, as Java's operator hands them over for customers without a state."""
    records = [record(message.value, offset) for offset, message in enumerate(messages)]
    chunks = (records[at : at + BATCH] for at in range(0, len(records), BATCH))
    return [pack_batch(some, [None] * len(some)) for some in chunks]


def record(value: bytes | None, offset: int) -> SourceRecord:
    """Return a record as Java's source makes it; of an oversized value it keeps the beginning."""
    whole = None
    if value is not None and len(value) > MAX_PAYLOAD_BYTES:
        whole, value = WholePayload(len(value), sha256(value).hexdigest()), value[:MAX_PAYLOAD_KEPT_BYTES]
    return SourceRecord(value, 0, offset, "2026-11-27 12:03:04.567", "", routing_key(value, offset), TOPIC, whole)


def routing_key(value: bytes | None, offset: int) -> str:
    """Return the key by which Java's source routes: the customer id, or the offset without a readable one."""
    found = None
    if value is not None and len(value) <= MAX_PAYLOAD_BYTES and value.startswith(b"{"):
        found = _ID.search(value)
    return found[1].decode() if found else f"unroutable-{offset}"


if __name__ == "__main__":
    main()
