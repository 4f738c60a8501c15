"""CPU time of a decision in the job of merchants on Kafka and Flink: read once by Java, or by SQL for each entity.

``python -m tests.lab.benchmarks.merchant_job`` starts a stack of its own, fills a topic with decisions that name four
entities, and runs the shipped job with one and with four entities, in both ways in turn. It prints the CPU time of the
TaskManager per decision, JVM and Python together, and ratios of one round. The start of the job is part of it; a first
round, in which the JVM compiles, is not printed.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import orjson

from flink_jobs.contracts.topic_contracts import load_contracts, topic_name
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.flink.answers import TERMINAL
from flink_jobs.flink.jobs import ALL_JOBS
from flink_jobs.flink.submit import Submission, submit
from flink_jobs.kafka.lag import consumer_lag
from flink_jobs.kafka.producer import connect
from flink_jobs.kafka.topics import contracts
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.lab.benchmarks.meter import read_process
from tests.lab.benchmarks.rig import Rig, open_rig

if TYPE_CHECKING:
    from collections.abc import Iterator

SQL, JAVA = "SQL, a pass for each entity", "Java, once"
CROSSINGS: Final = {SQL: "single", JAVA: "auto"}
IDS: Final = {"merchant": 500, "terminal": 5_000, "device": 4_000, "card": 4_000}
START_MS: Final = 1_767_225_600_000
STEP_MS: Final = 200
LIMIT_S: Final = 500
DECISION_VERSION: Final = 6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=120_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    one, four = (Entity.MERCHANT,), tuple(Entity)
    with open_rig(Path("/nowhere"), print) as rig:
        prefix = rig.new_prefix("merchants")
        fill(rig, prefix, options.decisions)
        rounds = []
        cases = list(product((one, four), (SQL, JAVA)))
        for number in range(options.rounds + 1):
            taken = {case: cost(rig, prefix, *case, options.decisions) for case in cases[:: -1 if number % 2 else 1]}
            if number == 0:
                continue
            rounds.append(taken)
            named = (f"{len(case[0])} by {case[1]}: {taken[case]:.0f} µs" for case in cases)
            print(f"round {number}: {'; '.join(named)}", flush=True)  # noqa: T201
    for text, upper, lower in (
        ("four entities, Java / SQL", (four, JAVA), (four, SQL)),
        ("one entity, Java / SQL", (one, JAVA), (one, SQL)),
        ("SQL, four entities / one", (four, SQL), (one, SQL)),
        ("Java, four entities / one", (four, JAVA), (one, JAVA)),
    ):
        ratios = sorted(item[upper] / item[lower] for item in rounds)
        print(f"{text:28} {ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f} (min, median, max)")  # noqa: T201


def decisions(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and decisions of version 6, in order of time, as the detector writes them."""
    example = load_contracts()["decisions"].examples
    pattern = next(item.document for item in example if item.version == DECISION_VERSION)
    for number in range(count):
        ids = {name: f"{name}-{number * 7_919 % most:06d}" for name, most in IDS.items()}
        customer = f"c{number % 5_000}"
        document: dict[str, Any] = {
            **pattern, **ids, "transaction_id": f"t-{number}", "customer_id": customer,
            "event_time_ms": START_MS + number * STEP_MS,
        }  # fmt: skip
        yield customer.encode(), orjson.dumps(document)


def fill(rig: Rig, prefix: str, count: int) -> None:
    """Write decisions to the topic of decisions."""
    topic = topic_name(prefix, "decisions")
    producer = connect(rig.broker)
    partitions = contracts(prefix)[topic].partitions
    try:
        for number, (key, value) in enumerate(decisions(count)):
            producer.send(topic, key=key, value=value, partition=number % partitions)
        producer.flush(timeout=240)
    finally:
        producer.close()


def cost(rig: Rig, prefix: str, entities: tuple[Entity, ...], way: str, count: int) -> float:
    """Return the CPU microseconds of a decision in one run of the job."""
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": prefix,
        "STREAMFLOW_RISK_ENTITIES": ",".join(entities),
        "STREAMFLOW_CROSSING": CROSSINGS[way],
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
    }
    group, topic = f"{prefix}-merchants", topic_name(prefix, "decisions")
    submission = Submission(REPO_ROOT / ALL_JOBS["merchants"], environment=environment)
    job_id = submit(rig.stack.flink_client(), rig.rest, submission)
    before, started = read_process(rig.taskmanager_pids()).cpu_s, time.monotonic()
    is_this_run, read = False, 0
    try:
        while not is_this_run or read < count:
            if rig.rest.failures(job_id) or time.monotonic() - started > LIMIT_S:
                raise SystemExit(f"the job failed or is too slow; see {rig.stack.home.logs}")
            read = sum(item.position for item in consumer_lag(rig.broker) if (item.group, item.topic) == (group, topic))
            is_this_run = is_this_run or read < count  # before its first checkpoint: the offsets of the run before
            time.sleep(0.2)
        used = read_process(rig.taskmanager_pids()).cpu_s - before
    finally:
        if rig.rest.state(job_id) not in TERMINAL:
            rig.rest.cancel(job_id)
        wait_for(lambda: not rig.rest.active_jobs(), limit_s=240, what="the job to leave the cluster")
    return used / count * 1e6


if __name__ == "__main__":
    main()
