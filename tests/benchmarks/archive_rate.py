"""How fast the archive job catches up: decisions that wait on Kafka when it starts, until the last is in Postgres.

``python -m tests.benchmarks.archive_rate --rows 100000`` starts a stack of its own, fills ``.decisions``, submits the
archive and prints rows per second between the first row that is seen in the table and the last, start-up left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg

from flink_jobs.contracts.registry import topic_name
from flink_jobs.local.stack import Stack
from flink_jobs.local.waiting import wait_for
from flink_jobs.traffic.producer import connect
from tests.integration.decided_cards import decide
from tests.integration.jobs import PREFIX, running_job

DISTINCT = 2_000
LIMIT_S = 400.0


def main() -> None:
    """Measure once and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="streamflow-bench-") as folder:
        Path(folder).chmod(0o755)  # as root, Postgres runs under another account
        stack = Stack(Path(folder) / "home")
        try:
            stack.up(taskmanagers=1)
            print(json.dumps(measure(stack, rows), indent=2))  # noqa: T201 - its result
        finally:
            stack.down(wipe=True)


def measure(stack: Stack, rows: int) -> dict[str, Any]:
    """Fill the topic, start the job, watch the table."""
    settings = stack.settings()
    _fill(settings.kafka_bootstrap_servers, rows)
    seen: list[tuple[float, int]] = []
    with running_job(stack, "archive", {}), psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:

        def is_done() -> bool:
            row = connection.execute("SELECT count(*) FROM raw.decisions").fetchone()
            count = 0 if row is None else int(row[0])
            if count:
                seen.append((time.monotonic(), count))
            return count >= rows

        wait_for(is_done, limit_s=LIMIT_S, what="all rows in Postgres", interval_s=0.5)
    (first_at, first), (last_at, last) = seen[0], seen[-1]
    rate = (last - first) / (last_at - first_at) if last_at > first_at else None
    return {"rows": rows, "seconds": round(last_at - first_at, 1), "rows_per_second": rate and round(rate)}


def _fill(bootstrap: str, rows: int) -> None:
    """Write decisions of the card file, the ids made unique."""
    documents = decide(DISTINCT).decisions
    producer = connect(bootstrap)
    for number in range(rows):
        document = documents[number % len(documents)]
        value = orjson.dumps({**document, "transaction_id": f"{document['transaction_id']}-{number}"})
        producer.send(topic_name(PREFIX, "decisions"), value=value, key=document["customer_id"].encode())
    producer.flush()
    producer.close()


if __name__ == "__main__":
    main()
