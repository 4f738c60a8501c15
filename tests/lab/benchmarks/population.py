"""Many customers against few: throughput, checkpoint size, and time to restore from a checkpoint."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.waiting import wait_for
from tests.lab.benchmarks import workload
from tests.lab.benchmarks.bench_report import ResultSection, number
from tests.lab.benchmarks.memory import MIB, full_size
from tests.lab.benchmarks.meter import steady_rate
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.lab.benchmarks.workload import CUSTOMERS, InputMessage, many_customers
from tests.stack_control import kill_taskmanager, start_taskmanager, wait_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 100_000
FAR_MS = 40 * 24 * workload.HOUR_MS
RECOVERY_LIMIT_S = 900.0
METHOD = (
    "Every customer first has one transaction. Then transactions of randomly drawn customers are sent and timed. "
    "Restore: the TaskManager is killed and started again; seconds from its registration until all tasks run, and "
    "until the first checkpoint after that, when results are readable again. One TaskManager, incremental "
    "checkpoints on the local disk."
)


@dataclass(frozen=True, slots=True)
class PopulationResult:
    """Measurements with one number of customers; times in seconds."""

    customers: int
    checkpoint_bytes: int
    events_per_s: float
    events_per_cpu_s: float
    restore_s: float
    readable_s: float


def visits(customers: int, events: int) -> Iterator[InputMessage]:
    """Yield transactions of randomly drawn customers, 40 days after their first ones."""
    rng = Random(1)  # noqa: S311 - repeatable, no secret
    patterns = list(many_customers(1_000, 1))
    for index in range(events):
        document = orjson.loads(patterns[index % len(patterns)].value or b"{}")
        document |= {
            "transaction_id": f"v{index}",
            "customer_id": f"m{rng.randrange(customers):07d}",
            "event_time_ms": document["event_time_ms"] + FAR_MS,
        }
        yield InputMessage(document["customer_id"].encode(), orjson.dumps(document))


def publish(rig: Rig, prefix: str, messages: Iterator[InputMessage]) -> None:
    """Publish in chunks, because the futures of five million records would not fit into memory."""
    while chunk := list(itertools.islice(messages, CHUNK)):
        workload.publish(rig.broker, prefix, chunk)


def run(rig: Rig, customers: int, events: int, say: Callable[[str], None]) -> PopulationResult:
    """Fill the job, measure throughput and checkpoint size, then kill the TaskManager and time the restore."""
    prefix = rig.new_prefix("population")
    publish(rig, prefix, many_customers(customers, 1))
    with rig.detector(prefix, JobPlan()) as job_id:
        rig.await_consumed(prefix, job_id, customers)
        say(f"{customers:,} customers have a state")
        decisions = topic_name(prefix, "decisions")
        with CommittedReader(rig.broker, [decisions]) as reader, rig.meter() as meter:
            reader.seek_to_end()
            publish(rig, prefix, visits(customers, events))
            rig.await_consumed(prefix, job_id, customers + events)
            wait_checkpoint(rig.rest, job_id)
            rate = steady_rate([record.timestamp_ms for record in reader.read_to_end()], meter)
        size = full_size(rig, job_id)
        restore_s, readable_s = _restore(rig, job_id)
    workload.drop_topics(rig.broker, prefix)
    return PopulationResult(customers, size, rate.events_per_s, rate.events_per_cpu_s, restore_s, readable_s)


def _restore(rig: Rig, job_id: str) -> tuple[float, float]:
    """Kill the TaskManager; return the seconds until all tasks run and until the next checkpoint completes."""
    restored = rig.rest.checkpoints(job_id).restored
    kill_taskmanager(rig.stack, 1)
    start_taskmanager(rig.stack, 1)
    start = time.monotonic()

    def runs() -> bool:
        return rig.rest.checkpoints(job_id).restored > restored and rig.rest.all_tasks_running(job_id)

    wait_for(runs, limit_s=RECOVERY_LIMIT_S, what="the job to run again")
    running_s = time.monotonic() - start
    wait_checkpoint(rig.rest, job_id, limit_s=RECOVERY_LIMIT_S)
    return running_s, time.monotonic() - start


def measure(rig: Rig, customers: int, events: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Compare the default number of customers with a large one."""
    section = ResultSection(
        "population",
        f"{customers:,} customers against {CUSTOMERS:,}",
        METHOD,
        ("customers", "events/s", "events/s per core", "checkpoint MiB", "restore s", "readable again after s"),
    )
    run(rig, CUSTOMERS, events, say)  # a warm-up, in which the JVM compiles
    for size in (CUSTOMERS, customers):
        found = run(rig, size, events, say)
        section.raw.append(asdict(found))
        section.add(
            number(size), number(found.events_per_s), number(found.events_per_cpu_s),
            number(found.checkpoint_bytes / MIB, 1), number(found.restore_s, 1), number(found.readable_s, 1),
        )  # fmt: skip
    return [section]
