"""Time to parse one transaction, as JSON and as Avro, and the time of fastavro for the same bytes."""

from __future__ import annotations

import io
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

import fastavro

from flink_jobs.core.transaction import Transaction
from flink_jobs.native.loader import core_in_use
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from tests.avro_samples import avro, knowing, our_schema
from tests.lab.benchmarks.bench_report import ResultSection, number, spread
from tests.strategies import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECORDS = 5_000
HEAD = 5
METHOD = (
    f"CPU microseconds per transaction, {RECORDS:,} simulated transactions a round, in this process: median of the "
    "rounds and their range. Parsing includes all checks of the contract. `another writer`: the fields in another "
    "order, with one more. The decoders alone return fields without a check."
)


def measure(rounds: int) -> list[ResultSection]:
    """Time both formats."""
    section = ResultSection(
        "formats", f"JSON and Avro ({core_in_use()} core)", METHOD, ("what", "bytes a record", "us a record")
    )
    events = [event.transaction for event in itertools.islice(simulate(SimulationPlan(customers=500)), RECORDS)]
    other = our_schema()
    other["fields"] = [{"name": "shelf", "type": "string"}, *reversed(other["fields"])]
    ours, now_ms = fastavro.parse_schema(our_schema()), time.time_ns() // 1_000_000
    json, records = [wire(event) for event in events], [avro(event) for event in events]
    others = [avro({**event, "shelf": "t-17"}, other) for event in events]
    parse, parse_other = knowing(our_schema()).parse, knowing(other).parse
    work: dict[str, tuple[Sequence[bytes], Callable[[bytes], Any]]] = {
        "parse JSON": (json, lambda raw: parse(raw, now_ms)),
        "parse Avro": (records, lambda raw: parse(raw, now_ms)),
        "parse Avro of another writer": (others, lambda raw: parse_other(raw, now_ms)),
        "fastavro alone": (records, lambda raw: fastavro.schemaless_reader(io.BytesIO(raw[HEAD:]), ours, None)),
    }
    for name, (payloads, call) in work.items():
        if name.startswith("parse") and not all(isinstance(call(raw), Transaction) for raw in payloads[:100]):
            raise ValueError(f"{name}: a record was rejected")
        times = [_timed(payloads, call) for _ in range(rounds)]
        section.add(name, number(statistics.mean(map(len, payloads))), spread(times, 2))
        section.cost(name, times, "us of CPU a record")
        section.raw.append({"what": name, "us": times})
    return [section]


def _timed(payloads: Sequence[bytes], call: Callable[[bytes], Any]) -> float:
    started = time.process_time()
    for raw in payloads:
        call(raw)
    return (time.process_time() - started) / len(payloads) * 1e6
