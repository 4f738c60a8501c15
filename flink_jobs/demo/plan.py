"""What one demo run does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.cards.card_files import mapping_for, read_events, with_prefix
from flink_jobs.kafka.pacing import Pace
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.faults import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.cards.card_files import SourceEvent

CARD_FILE = REPO_ROOT / "tests" / "data" / "card_transactions.csv.gz"
EVENTS = 10_000
RATE = 800.0
FAULTS = FaultPlan(malformed=0.05, duplicates=0.02, late=0.01)
CHECKPOINT_INTERVAL_MS = 1_000
"""Results can be read after the checkpoint that follows them, so this bounds the latency that is seen."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to send, and what to do afterwards.

    Attributes:
        events: good transactions to send; faults come on top of them.
        pace: of all records.
        faults: mixed in.
        data: the card file; it starts over when it is shorter than ``events``.
        keep: leave what was started running.
        secure: with TLS, log-ins and rights; ``None``: as the stack was last.
        stay: after the summary, wait for Ctrl-C before stopping.
    """

    events: int = EVENTS
    pace: Pace = field(default_factory=lambda: Pace(rate=RATE))
    faults: FaultPlan = FAULTS
    data: Path = CARD_FILE
    keep: bool = False
    secure: bool | None = None
    stay: bool = False


def run_prefix(now_s: float | None = None) -> str:
    """Return what is put before the ids of one run, so that no earlier run has decided its transactions.

    Eight hexadecimal digits of the second it started: one stack runs one demo at a time.
    """
    return f"demo-{int(time.time() if now_s is None else now_s):08x}-"


def card_events(path: Path, prefix: str) -> Iterator[SourceEvent]:
    """Yield the transactions of the file under ids of this run, from the beginning again as other customers, for ever.

    Raises:
        UserError: the file cannot be read.
    """
    mapping = mapping_for(path, None)
    lap = 0
    while True:
        # The ids of later laps differ too: time goes back to the file's first day, and these are not redeliveries.
        yield from with_prefix(read_events(path, mapping), prefix if lap == 0 else f"{prefix}{lap}-")
        lap += 1
