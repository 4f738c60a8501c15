"""The golden savepoints: what released jobs left behind (made by tests/integration/golden_savepoint.py)."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.source_record import SourceRecord

FOLDER = Path(__file__).parent / "data" / "savepoints"
GOLDEN = sorted(FOLDER.glob("state-v*.tar.gz"))
"""One for each state version ever released."""
PROCESS_MODE = FOLDER / "process-mode.tar.gz"
"""The same job in process mode."""
ARCHIVE = FOLDER / "archive-0.2.tar.gz"
"""The archive job of release 0.2."""
ARCHIVE_PREFIX = "golden-archive"
"""The topic prefix of the archive job."""
ARCHIVED = {
    "decisions": ("raw.decisions", "transaction_id"),
    "alerts": ("raw.alerts", "alert_id"),
    "dlq": ("raw.dead_letters", "dlq_id"),
    "labels": ("raw.labels", "label_id"),
    "audit": ("ops.control_audit", "control_id"),
}
"""The topics that the archive job reads, with the table and a key column of each."""


def version_of(archive: Path) -> int:
    """Return the state version of a golden savepoint."""
    return int(archive.name.removeprefix("state-v").removesuffix(".tar.gz"))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a golden savepoint anywhere; return the savepoint's folder."""
    shutil.unpack_archive(archive, folder)
    return folder / "savepoint"


def transactions_of(archive: Path) -> list[dict[str, Any]]:
    """Return the transactions that the job had decided, as they were sent."""
    with tarfile.open(archive) as packed:
        member = packed.extractfile("transactions.jsonl")
        assert member is not None
        return [orjson.loads(line) for line in member]


def counts_of(archive: Path) -> dict[str, dict[str, int]]:
    """Return the number of records that the archive job had read, by topic and partition."""
    with tarfile.open(archive) as packed:
        member = packed.extractfile("offsets.json")
        assert member is not None
        counts: dict[str, dict[str, int]] = orjson.loads(member.read())
        return counts


def decided(
    transactions: Iterable[dict[str, Any]], states: dict[str, bytes], now_ms: int = 2_000_000_000_000
) -> dict[str, dict[str, Any]]:
    """Decide transactions by rules as one unbroken stream; return the decisions by id, and update the states."""
    evaluator, decisions = TransactionEvaluator(), {}
    for offset, transaction in enumerate(transactions):
        customer = str(transaction["customer_id"])
        record = SourceRecord(orjson.dumps(transaction), 0, offset, "", "", customer, "golden")
        outcome = evaluator.evaluate(record, lambda customer=customer: states.get(customer), now_ms)  # type: ignore[misc]
        assert outcome.decision is not None, outcome.letters
        assert outcome.state is not None
        states[customer] = outcome.state
        decisions[str(transaction["transaction_id"])] = orjson.loads(outcome.decision)
    return decisions


def prefix_of(archive: Path) -> str:
    """Return the topic prefix of the job that wrote a golden savepoint."""
    return f"golden-v{version_of(archive)}"
