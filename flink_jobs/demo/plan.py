"""The plan of a demo run: data, rate, faults."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.cards.card_files import mapping_for, read_events, with_prefix
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.traffic.purchase_ids import with_purchase_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.kafka.pacing import Pace

CARD_FILE = REPO_ROOT / "tests" / "data" / "card_transactions.csv.gz"
EVENTS = 10_000
RATE = 800.0
"""Highest throughput of the demo without ``--rate`` and ``--speed``, in records per second."""
FAULTS = FaultPlan(malformed=0.05, duplicates=0.02, late=0.01)
IDS_SEED = 1
"""Seed of the terminals, devices and cards."""
CHECKPOINT_INTERVAL_MS = 1_000
"""Results can be read after the next checkpoint, so the latency depends on this interval."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The traffic of the demo, and what happens after it.

    Attributes:
        events: number of valid transactions; faults are sent in addition.
        pace: pace of all records; ``None``: the throughput that the job reaches, up to ``RATE`` (``SteadyPace``).
        faults: faults mixed into the traffic.
        data: the card file; it is repeated if it has fewer rows than ``events``.
        keep: keep everything running after the demo.
        secure: use TLS, logins and rights; ``None`` keeps the last choice of the stack.
        console: start the API with the console, too.
        stay: wait for Ctrl-C after the summary before stopping.
    """

    events: int = EVENTS
    pace: Pace | None = None
    faults: FaultPlan = FAULTS
    data: Path = CARD_FILE
    keep: bool = False
    secure: bool | None = None
    console: bool = False
    stay: bool = False


def run_prefix(now_s: float | None = None) -> str:
    """Return the prefix of a run's ids, so that its transactions differ from those of earlier runs.

    It holds the start time in seconds as eight hexadecimal digits: a stack runs one demo at a time.
    """
    return f"demo-{int(time.time() if now_s is None else now_s):08x}-"


def card_events(path: Path, prefix: str) -> Iterator[SourceEvent]:
    """Yield the transactions of the file with this run's ids; then repeat the file with other ids, without end.

    The file has no terminals, devices, cards and addresses; they are made up (``flink_jobs.traffic.purchase_ids``).

    Raises:
        UserError: the file cannot be read.
    """
    mapping = mapping_for(path, None)
    lap = 0
    while True:
        # Later laps have other ids: their event time restarts, and they are no redeliveries.
        events = with_prefix(read_events(path, mapping), prefix if lap == 0 else f"{prefix}{lap}-")
        yield from with_purchase_ids(events, IDS_SEED)
        lap += 1
