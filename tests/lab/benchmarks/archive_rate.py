"""Throughput of the archive job while it works off a backlog of decisions.

``python -m tests.lab.benchmarks.archive_rate --rows 300000 --parallelism 2`` starts its own stack, whose Postgres runs
with ``fsync``, fills ``.decisions``, submits the archive job and prints as JSON the figures of the time between the
first tenth of the rows and the last row in Postgres (start-up is not counted): rows per second by wall time, and CPU
microseconds per row of each part of the stack, which stay comparable on a shared machine.

``--against FOLDER`` also measures the archive job of another checkout (``git worktree add FOLDER REVISION``) on the
same stack, in turn, and prints the ratio of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil
import psycopg

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.flink.jobs import JOBS
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.producer import connect
from flink_jobs.kafka.topics import create_topics
from flink_jobs.local import checkout, postgres
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.integration.decided_cards import decide
from tests.integration.jobs import start_job
from tests.lab.benchmarks.machine_description import describe
from tests.stack_folder import stack_folder

DISTINCT = 2_000
LIMIT_S = 600.0
WARM_UP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Moment:
    """What was true at one moment of a run."""

    at_s: float
    rows: int
    cpu_s: dict[str, float]
    """CPU seconds so far by part of the stack."""


def main() -> None:
    """Measure and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--parallelism", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another checkout, whose archive job is measured in turn")
    parser.add_argument("--no-fsync", action="store_true", help="as the local stack: without fsync")
    options = parser.parse_args()
    if not options.no_fsync:
        postgres.SERVER_SETTINGS.update(fsync="on", full_page_writes="on")
    folders = [REPO_ROOT, *([options.against.resolve()] if options.against else [])]
    machine = describe()
    found: dict[Path, list[dict[str, Any]]] = {folder: [] for folder in folders}
    for number in range(options.rounds):
        for folder in folders:
            found[folder].append(in_own_stack(folder, options.rows, options.parallelism))
            print(json.dumps({"round": number, "checkout": folder.name} | found[folder][-1]), flush=True)  # noqa: T201
    rates = [median(run["rows_per_second"] for run in runs) for runs in found.values()]
    costs = [median(run["cpu_us_per_row"]["all"] for run in runs) for runs in found.values()]
    summary: dict[str, Any] = {"machine": machine, "rows_per_second": rates, "cpu_us_per_row": costs}
    if options.against:
        summary["ratio of rows per second"] = round(rates[0] / rates[1], 2)
        summary["ratio of rows per CPU second"] = round(costs[1] / costs[0], 2)
    print(json.dumps(summary, indent=2))  # noqa: T201 - the result of the command


def in_own_stack(folder: Path, rows: int, parallelism: int) -> dict[str, Any]:
    """Measure the archive job of a checkout once, on a new stack."""
    path, given = os.pathsep.join([str(checkout.SITE_PACKAGES), str(folder)]), checkout.python_path
    with stack_folder("bench") as scratch:
        stack = Stack(scratch / "home")
        checkout.python_path = lambda: path
        try:
            stack.up(taskmanagers=parallelism)
            return measure(stack, folder, rows, parallelism)
        finally:
            checkout.python_path = given
            stack.down(wipe=True)


def measure(stack: Stack, folder: Path, rows: int, parallelism: int) -> dict[str, Any]:
    """Fill the topic, start the job and count the rows in Postgres until all have arrived."""
    settings = stack.settings()
    _fill(settings.broker(), stack.topic_prefix, rows)
    seen: list[Moment] = []
    script = folder / JOBS["archive"]
    job_id = start_job(stack, "archive", {"PYTHONPATH": str(folder)}, script=script, parallelism=parallelism)
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        fsync = connection.execute("SHOW fsync").fetchone()

        def is_done() -> bool:
            row = connection.execute("SELECT count(*) FROM raw.decisions").fetchone()
            count = 0 if row is None else int(row[0])
            seen.append(Moment(time.monotonic(), count, _cpu_s(stack)))
            return count >= rows

        wait_for(is_done, limit_s=LIMIT_S, what="all rows in Postgres", interval_s=0.2)
    stack.rest().cancel(job_id)
    first = next(moment for moment in seen if moment.rows >= rows * WARM_UP_SHARE)
    last = seen[-1]
    if last.rows == first.rows:
        raise SystemExit(f"all {rows} rows arrived between two counts; run again with more --rows")
    timed = last.rows - first.rows
    used = {name: (cpu_s - first.cpu_s.get(name, 0.0)) / timed * 1e6 for name, cpu_s in last.cpu_s.items()}
    seconds = last.at_s - first.at_s
    return {
        "rows": timed,
        "rows_per_second": round(timed / seconds),
        "cpu_us_per_row": {name: round(value, 1) for name, value in {**used, "all": sum(used.values())}.items()},
        "cores": round(sum(used.values()) * timed / 1e6 / seconds, 2),
        "fsync": fsync[0] if fsync else "unknown",
        "parallelism": parallelism,
    }


def _cpu_s(stack: Stack) -> dict[str, float]:
    """Return the CPU seconds used so far, by part of the stack; Python workers are a part of their own."""
    used: dict[str, float] = {}
    for name, record in stack.record.processes.items():
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(record.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    part = "python" if process.name().startswith("python") else name.partition("-")[0]
                    times = process.cpu_times()
                    used[part] = used.get(part, 0.0) + times.user + times.system
    return used


def _fill(broker: Broker, prefix: str, rows: int) -> None:
    """Write decisions of the card file with unique transaction ids."""
    create_topics(broker, prefix)
    documents = decide(DISTINCT).decisions
    producer = connect(broker)
    for number in range(rows):
        document = documents[number % len(documents)]
        value = orjson.dumps({**document, "transaction_id": f"{document['transaction_id']}-{number}"})
        producer.send(topic_name(prefix, "decisions"), value=value, key=document["customer_id"].encode())
    producer.flush()
    producer.close()


if __name__ == "__main__":
    main()
