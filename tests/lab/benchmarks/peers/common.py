"""Shared by both peers: StreamFlow's evaluator with its model, and the output topics.

Runs in the peers' environment, where ``flink_jobs.core`` is the only StreamFlow package that can be imported.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.core.parsing.source_record import SourceRecord

BROKER = os.environ["BENCH_BROKER"]
PREFIX = os.environ["BENCH_PREFIX"]
TRANSACTIONS, DECISIONS, ALERTS, LETTERS = (
    f"{PREFIX}.{suffix}" for suffix in ("transactions", "decisions", "alerts", "dlq")
)
COMMIT_INTERVAL_S = int(os.environ["BENCH_COMMIT_INTERVAL_MS"]) / 1000
PRODUCER_CONFIG = {"linger.ms": 20, "batch.size": 262_144, "compression.type": "lz4"}
"""The producer settings of StreamFlow's own sinks."""

EVALUATOR = TransactionEvaluator(model=load_model(model_directory(Path(os.environ["BENCH_MODEL_DIR"])), FEATURE_NAMES))


class OutputMessage(NamedTuple):
    """One message to write."""

    topic: str
    key: bytes
    value: bytes


def decide(
    payload: bytes | None, partition: int, offset: int, key: bytes, read_state: Callable[[], bytes | None]
) -> tuple[bytes | None, list[OutputMessage]]:
    """Score one record; return the new state (None: unchanged) and the messages to write."""
    record = SourceRecord(payload, partition, offset, "", "", key.decode(), TRANSACTIONS)
    outcome = EVALUATOR.evaluate(record, read_state, time.time_ns() // 1_000_000)
    messages = [OutputMessage(LETTERS, letter.id.encode(), letter.body.encode()) for letter in outcome.letters]
    if outcome.decision is not None:
        messages.append(OutputMessage(DECISIONS, key, outcome.decision.encode()))
    if outcome.alert is not None:
        messages.append(OutputMessage(ALERTS, key, outcome.alert.encode()))
    return outcome.state, messages
