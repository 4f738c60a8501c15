"""Throughput of the archive job while it works off a backlog of decisions.

``python -m tests.lab.benchmarks.archive_rate --rows 100000`` starts its own stack, fills ``.decisions``, submits the
archive job and prints two figures for the time between the first and the last row in Postgres (start-up is not
counted): rows per second, and CPU seconds of all processes of the stack, which stay comparable on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import psycopg

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.producer import connect
from flink_jobs.local import process
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests.integration.decided_cards import decide
from tests.integration.jobs import PREFIX, running_job
from tests.stack_folder import stack_folder

DISTINCT = 2_000
LIMIT_S = 400.0


def main() -> None:
    """Measure once and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with stack_folder("bench") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(taskmanagers=1)
            print(json.dumps(measure(stack, rows), indent=2))  # noqa: T201 - the result of the command
        finally:
            stack.down(wipe=True)


def measure(stack: Stack, rows: int) -> dict[str, Any]:
    """Fill the topic, start the job and count the rows in Postgres until all have arrived."""
    settings = stack.settings()
    _fill(settings.broker(), rows)
    seen: list[tuple[float, int, float]] = []
    with running_job(stack, "archive", {}), psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:

        def is_done() -> bool:
            row = connection.execute("SELECT count(*) FROM raw.decisions").fetchone()
            count = 0 if row is None else int(row[0])
            if count:
                seen.append((time.monotonic(), count, _cpu_s(stack)))
            return count >= rows

        wait_for(is_done, limit_s=LIMIT_S, what="all rows in Postgres", interval_s=0.5)
    (first_at, first, first_cpu), (last_at, last, last_cpu) = seen[0], seen[-1]
    if last == first:
        raise SystemExit(f"all {rows} rows arrived between two counts; run again with more --rows")
    return {
        "rows": last - first,
        "rows_per_second": round((last - first) / (last_at - first_at)),
        "cpu_seconds_per_10000_rows": round((last_cpu - first_cpu) / (last - first) * 10_000, 2),
    }


def _cpu_s(stack: Stack) -> float:
    """Return the CPU seconds that the stack's processes have used so far."""
    ticks = 0
    for pid in process.marked(stack.record.stack_id):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _fill(broker: Broker, rows: int) -> None:
    """Write decisions of the card file with unique transaction ids."""
    documents = decide(DISTINCT).decisions
    producer = connect(broker)
    for number in range(rows):
        document = documents[number % len(documents)]
        value = orjson.dumps({**document, "transaction_id": f"{document['transaction_id']}-{number}"})
        producer.send(topic_name(PREFIX, "decisions"), value=value, key=document["customer_id"].encode())
    producer.flush()
    producer.close()


if __name__ == "__main__":
    main()
