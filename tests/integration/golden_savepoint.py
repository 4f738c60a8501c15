"""Creates a golden savepoint of this release's job, which every later release must restore.

Run it once per state version, with a clean checkout of the release:

    python -m tests.integration.golden_savepoint tests/data/savepoints/state-v2.tar.gz

It starts its own stack, scores a few hundred transactions of forty customers, applies one control message, stops the
job with a savepoint, and packs the savepoint with the sent transactions. The archive has a few dozen kilobytes.
"""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import orjson

from flink_jobs.cards.card_files import SourceEvent, read_events
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.core.state.codec import STATE_VERSION
from flink_jobs.kafka.control_client import build_message, send_and_wait
from flink_jobs.local.stack import Stack
from tests.integration import jobs
from tests.stack_folder import stack_folder

CUSTOMERS = 40
EVENTS = 600
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
            pack(target, savepoint, events)
        finally:
            stack.down(wipe=True)


def pack(target: Path, savepoint: Path, events: list[SourceEvent]) -> None:
    """Write the archive: the files of the savepoint, and the transactions in send order."""
    content = {f"savepoint/{file.name}": file.read_bytes() for file in sorted(savepoint.iterdir())}
    content["transactions.jsonl"] = b"".join(orjson.dumps(event.transaction) + b"\n" for event in events)
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
    make(Path(path))
