"""Training rows: history replayed through the very code that computes the stream's features.

Nothing here computes a feature. A transaction becomes bytes as a producer would send them, the stream's parser
reads them, and the stream's replay turns them into a feature vector: what is trained is what is served.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from flink_jobs.core.evaluator import replay_features
from flink_jobs.core.features import FEATURE_NAMES, model_input
from flink_jobs.core.parsing import parse_transaction
from flink_jobs.core.transaction import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from flink_jobs.core.transaction import Transaction
    from flink_jobs.traffic.source_files import SourceEvent

UNKNOWN, GENUINE, FRAUD = -1, 0, 1
"""Values of `Dataset.labels`."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Feature rows in the order of the stream.

    Attributes:
        inputs: rows x `FEATURE_NAMES`, finite, absent features at their neutral value.
        event_time_ms: UTC milliseconds, one per row.
        labels: `FRAUD`, `GENUINE` or `UNKNOWN` per row; never an input.
        rejected: events the stream would have dead-lettered as unreadable; they are not rows.
    """

    inputs: NDArray[np.float64]
    event_time_ms: NDArray[np.int64]
    labels: NDArray[np.int8]
    rejected: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    def where(self, mask: NDArray[np.bool_]) -> Dataset:
        """Return the rows where `mask` is true."""
        return Dataset(self.inputs[mask], self.event_time_ms[mask], self.labels[mask])

    def digest(self) -> str:
        """SHA-256 (hex) of names, features and event times; labels do not train and do not count."""
        digest = hashlib.sha256(orjson.dumps([FEATURE_NAMES, self.inputs.shape]))
        digest.update(np.ascontiguousarray(self.inputs, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.event_time_ms, dtype="<i8").tobytes())
        return digest.hexdigest()


class _Feed:
    """Hands transactions to the replay one by one and keeps the label of the latest: the replay may skip some."""

    def __init__(self, events: Iterable[SourceEvent], now_ms: int) -> None:
        self.label = UNKNOWN
        self.rejected = 0
        self._events = events
        self._now_ms = now_ms

    def __iter__(self) -> Iterator[Transaction]:
        for event in self._events:
            parsed = parse_transaction(orjson.dumps(event.transaction), self._now_ms)
            if isinstance(parsed, Rejection):
                self.rejected += 1
                continue
            self.label = UNKNOWN if event.label is None else FRAUD if event.label else GENUINE
            yield parsed


def build_dataset(events: Iterable[SourceEvent], now_ms: int) -> Dataset:
    """Replay history into training rows.

    Args:
        events: in the order the stream would receive them.
        now_ms: the wall clock the parser holds event times against, UTC milliseconds.
    """
    feed = _Feed(events, now_ms)
    rows: list[tuple[float, ...]] = []
    times: list[int] = []
    labels: list[int] = []
    for replayed in replay_features(feed):
        rows.append(model_input(replayed.features))
        times.append(replayed.transaction.event_time_ms)
        labels.append(feed.label)
    inputs = np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURE_NAMES))
    return Dataset(inputs, np.array(times, dtype=np.int64), np.array(labels, dtype=np.int8), feed.rejected)


def split_by_time(dataset: Dataset, train_fraction: float) -> tuple[Dataset, Dataset]:
    """Cut at a moment, not at a row: everything before it trains, everything from it on is evaluated.

    Args:
        dataset: at least one row.
        train_fraction: share of the rows to train on, in (0, 1]; 1 leaves nothing to evaluate.

    Returns:
        The earlier and the later part. The earlier part is never empty: when all rows share one moment, all train.
    """
    if train_fraction >= 1.0:
        return dataset, dataset.where(np.zeros(len(dataset), dtype=np.bool_))
    ordered = np.sort(dataset.event_time_ms)
    cut = ordered[min(int(len(ordered) * train_fraction), len(ordered) - 1)]
    if cut == ordered[0]:  # the share ends among rows of the first moment: take that moment whole
        later = ordered[ordered > cut]
        cut = later[0] if len(later) else cut + 1
    early = dataset.event_time_ms < cut
    return dataset.where(early), dataset.where(~early)
