"""Throughput of the Kafka broker on this machine, which limits all other parts.

Kafka's performance tools write and read the records, and so do our own Python producer and reader.
"""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.local import checkout, toolchain
from tests.lab.benchmarks import workload
from tests.lab.benchmarks.bench_report import ResultSection, number, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.lab.benchmarks.rig import Rig
    from tests.lab.benchmarks.workload import InputMessage

LIMIT_S = 300
KAFKA_TOOL, OURS = "Kafka's own tool", "StreamFlow's client"
METHOD = (
    "The benchmark's records are written to one topic of four partitions (lz4, acknowledged) and read back. Kafka's "
    "tools are `ProducerPerformance` and `ConsumerPerformance`. Our clients are the producer that fills the "
    "benchmark's topics and the reader of committed records, each in one Python process."
)
_WRITTEN = re.compile(r"([\d.]+) records/sec")


def measure(rig: Rig, events: int, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Write and read the records with Kafka's tools and with our clients."""
    messages = workload.card_traffic(events)
    size = sum(len(message.value or b"") for message in messages) // len(messages)
    section = ResultSection("kafka", "The broker's own throughput", METHOD, ("client", "way", "records/s", "MB/s"))
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for client, (written, read) in {
            KAFKA_TOOL: _kafka_tools(rig, messages),
            OURS: _our_clients(rig, messages),
        }.items():
            rates.setdefault((client, "write"), []).append(written)
            rates.setdefault((client, "read"), []).append(read)
            say(f"{client}: {written:,.0f} records/s written, {read:,.0f} read")
    for (client, way), values in rates.items():
        megabytes = number(sorted(values)[len(values) // 2] * size / 1e6, 1)
        section.add(client, way, spread(values), megabytes)
        section.rate(f"{client}, {way}", values, "records/s")
        section.raw.append({"client": client, "way": way, "records_per_s": values, "record_bytes": size})
    return [section]


def _our_clients(rig: Rig, messages: Sequence[InputMessage]) -> tuple[float, float]:
    prefix = rig.new_prefix("kafka")
    started = time.perf_counter()
    workload.publish(rig.broker, prefix, messages)
    written = time.perf_counter()
    with CommittedReader(rig.broker, [topic_name(prefix, "transactions")]) as reader:
        found = sum(1 for _ in reader.read_to_end())
    done = time.perf_counter()
    workload.drop_topics(rig.broker, prefix)
    if found != len(messages):
        raise UserError(f"read {found} of {len(messages)} records", "see kafka.log of the benchmark's stack")
    return len(messages) / (written - started), found / (done - written)


def _kafka_tools(rig: Rig, messages: Sequence[InputMessage]) -> tuple[float, float]:
    prefix, events = rig.new_prefix("kafka"), str(len(messages))
    topic = topic_name(prefix, "transactions")
    payloads = rig.scratch / "payloads.jsonl"
    payloads.write_bytes(b"\n".join(message.value or b"{}" for message in messages))
    written = _tool(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", events, "--payload-file", str(payloads), "--throughput", "-1"),
        *("--producer-props", f"bootstrap.servers={rig.broker.servers}", "compression.type=lz4", "linger.ms=20"),
    )
    read = _tool(
        "ConsumerPerformance", "--bootstrap-server", rig.broker.servers, "--topic", topic, "--messages", events
    )
    workload.drop_topics(rig.broker, prefix)
    return written_rate(written), read_rate(read)


def written_rate(output: str) -> float:
    """Return records per second from the last line of ``ProducerPerformance``, which summarises the whole run.

    Raises:
        UserError: the output holds no rate.
    """
    rates = _WRITTEN.findall(output)
    if not rates:
        raise UserError(f"Kafka's ProducerPerformance printed no rate: {output.strip()[-200:]}", "see kafka.log")
    return float(rates[-1])


def read_rate(output: str) -> float:
    """Return records per second from ``ConsumerPerformance``: its last column, without the time to join the group.

    Raises:
        UserError: the output holds no rate.
    """
    cells = output.strip().rpartition("\n")[2].split(",")
    try:
        return float(cells[-1])
    except ValueError:
        raise UserError(
            f"Kafka's ConsumerPerformance printed no rate: {output.strip()[-200:]}", "see kafka.log"
        ) from None


def _tool(name: str, *arguments: str) -> str:
    java = toolchain.find_java() / "bin" / "java"
    command = [str(java), "-Xmx512m", "-cp", f"{checkout.KAFKA_JARS}/*", f"org.apache.kafka.tools.{name}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    if done.returncode:
        raise UserError(f"{name} failed: {done.stderr.strip()[-300:]}", "see kafka.log of the benchmark's stack")
    return done.stdout
