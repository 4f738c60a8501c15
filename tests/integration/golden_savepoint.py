"""Creates a golden savepoint of this release's job, which every later release must restore.

Run it once per state version, with a clean checkout of the release:

    python -m tests.integration.golden_savepoint tests/data/savepoints/state-v2.tar.gz

It starts its own stack, scores a few hundred transactions of forty customers, applies one control message, stops the
job with a savepoint, and packs the savepoint with the sent transactions. The archive has a few dozen kilobytes.

A name that begins with ``archive-`` makes a savepoint of the archive job. Its state is the offsets of its sources, so
it is packed with the number of records that each partition of the archived topics had. Make one for each release that
changes an operator of the archive:

    python -m tests.integration.golden_savepoint tests/data/savepoints/archive-0.2.tar.gz
"""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from flink_jobs.cards.card_files import SourceEvent, read_events
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.state.codec import STATE_VERSION
from flink_jobs.kafka.control_client import build_message, send_and_wait
from flink_jobs.kafka.producer import connect
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests import golden
from tests.integration import jobs
from tests.integration.decided_cards import decide
from tests.stack_folder import stack_folder

CUSTOMERS = 40
EVENTS = 600
ARCHIVED_EVENTS = 3_000
"""Enough transactions for one alert and one label."""
CONTROL_ID = "golden-control"
THRESHOLD = 0.55
"""The value that the control message sets; a test asks the restored job for it."""
IN_FILES = {"execution.checkpointing.data-inline-threshold": "1 kb"}
"""Flink would store so few customers inside `_metadata`; this threshold puts them into a file, as in larger jobs."""
_CURRENCIES = ("USD", "EUR", "JPY")


def prefix_of(version: int) -> str:
    """Return the topic prefix of a golden savepoint; a job that restores it must have the same topics."""
    return f"golden-v{version}"


def varied_events() -> Iterator[SourceEvent]:
    """Yield transactions that fill every part of a state: currencies, late events, missing location or category."""
    customers: set[str] = set()
    held_back: SourceEvent | None = None
    for number, event in enumerate(read_events(jobs.CARD_FILE, load_mapping(jobs.CARD_MAPPING))):
        customer = str(event.transaction["customer_id"])
        if customer not in customers and len(customers) == CUSTOMERS:
            continue
        customers.add(customer)
        changed = dict(event.transaction)
        changed["currency"] = _CURRENCIES[number % 7 % len(_CURRENCIES)]
        for field in (("location",), ("category",), ())[number % 5 % 3]:
            changed.pop(field, None)
        event = replace(event, transaction=changed)  # noqa: PLW2901 - the same event, varied
        if number % 11 == 0 and held_back is None:
            held_back = event
            continue
        yield event
        if number % 11 == 5 and held_back is not None:
            yield held_back
            held_back = None


def make(target: Path) -> None:
    """Run the job, stop it with a savepoint and write the archive."""
    events = list(islice(varied_events(), EVENTS))
    prefix = prefix_of(STATE_VERSION)
    with stack_folder("golden") as folder:
        stack = Stack(folder / "home", topic_prefix=prefix)
        try:
            settings = stack.up(("kafka", "flink"), taskmanagers=1)
            environment = {"STREAMFLOW_TOPIC_PREFIX": prefix, "STREAMFLOW_MODEL_DIR": str(folder)}
            job_id = jobs.start_job(stack, "detect", environment, options=IN_FILES)
            message = build_message(
                {"alert_threshold": THRESHOLD}, issued_by="golden", reason="golden", expected_revision=None, now_ms=0
            )
            message["control_id"] = CONTROL_ID
            answer = send_and_wait(settings.broker(), prefix, orjson.dumps(message), CONTROL_ID, 60)
            if answer is None or answer["outcome"] != "applied":
                raise SystemExit(f"the control message was not applied: {answer}")
            balance = jobs.account(stack, jobs.send(stack, events, prefix=prefix), prefix)
            if not balance.is_as_expected:
                raise SystemExit("\n".join(balance.lines()))
            savepoint = Path(stack.rest().stop_with_savepoint(job_id, settings.savepoint_dir).removeprefix("file:"))
            sent = b"".join(orjson.dumps(event.transaction) + b"\n" for event in events)
            pack(target, savepoint, "transactions.jsonl", sent)
        finally:
            stack.down(wipe=True)


def make_archive(target: Path) -> None:
    """Run the archive job, stop it with a savepoint and write the archive."""
    with stack_folder("golden") as folder:
        stack = Stack(folder / "home", topic_prefix=golden.ARCHIVE_PREFIX)
        try:
            settings = stack.up(("postgres", "kafka", "flink"), taskmanagers=1)
            by_topic = ("decisions", "alerts", "dlq", "labels")
            counts = {name: {str(number): 3 + number for number in range(4)} for name in by_topic} | {"audit": {"0": 3}}
            send_archived(stack, counts, "golden")
            environment = {"STREAMFLOW_TOPIC_PREFIX": golden.ARCHIVE_PREFIX, "STREAMFLOW_MODEL_DIR": str(folder)}
            job_id = jobs.start_job(stack, "archive", environment, options=IN_FILES)
            sent = {name: sum(of_topic.values()) for name, of_topic in counts.items()}
            wait_for(lambda: archived(stack, "golden") == sent, limit_s=jobs.PATIENCE_S, what=f"rows {sent}")
            savepoint = Path(stack.rest().stop_with_savepoint(job_id, settings.savepoint_dir).removeprefix("file:"))
            pack(target, savepoint, "offsets.json", orjson.dumps(counts))
        finally:
            stack.down(wipe=True)


def send_archived(stack: Stack, counts: Mapping[str, Mapping[str, int]], name: str) -> None:
    """Send documents with a name to the topics that the archive job reads.

    Args:
        stack: a stack with the topics of ``golden.ARCHIVE_PREFIX``.
        counts: number of documents by topic and partition.
        name: the key of each row begins with it.
    """
    cards = decide(ARCHIVED_EVENTS)
    one: dict[str, dict[str, Any]] = {
        "decisions": cards.decisions[0], "alerts": cards.alerts[0], "dlq": cards.dlq[0], "labels": cards.labels[0],
        "audit": {
            "control_id": "", "outcome": "rejected", "schema_version": 1, "revision": 0, "issued_by": "golden",
            "detail": "golden", "issued_at_ms": 1, "reason": "golden", "applied_at_ms": 1, "changes": {},
        },
    }  # fmt: skip
    producer = connect(stack.settings().broker())
    try:
        for topic, of_topic in counts.items():
            for partition, count in of_topic.items():
                for number in range(count):
                    key = f"{name}-{partition}-{number}"
                    producer.send(
                        topic_name(golden.ARCHIVE_PREFIX, topic),
                        key=key.encode(),
                        value=orjson.dumps({**one[topic], golden.ARCHIVED[topic][1]: key}),
                        partition=int(partition),
                    )
        producer.flush(timeout=240)
    finally:
        producer.close()


def archived(stack: Stack, name: str) -> dict[str, int]:
    """Return the number of rows by topic whose key begins with a name."""
    return {
        topic: int(jobs.rows(stack, f"SELECT count(*) AS n FROM {table} WHERE starts_with({key}, %s)", name)[0]["n"])  # noqa: S608 - our names
        for topic, (table, key) in golden.ARCHIVED.items()
    }


def pack(target: Path, savepoint: Path, beside_name: str, beside: bytes) -> None:
    """Write the archive: the files of the savepoint, and one file beside it."""
    content = {f"savepoint/{file.name}": file.read_bytes() for file in sorted(savepoint.iterdir())}
    content[beside_name] = beside
    target.parent.mkdir(parents=True, exist_ok=True)
    # No times and no owners, so that equal content gives an equal archive.
    with gzip.GzipFile(target, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    [path] = sys.argv[1:] or ["--help"]
    if path.startswith("-"):
        raise SystemExit(__doc__)
    (make_archive if Path(path).name.startswith("archive-") else make)(Path(path))
