"""Training rows: history replayed through the very code that computes the stream's features.

Nothing here computes a feature. A transaction becomes bytes as a producer would send them, the stream's parser
reads them, and the stream's evaluator turns them into a feature vector: what is trained is what is served.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import orjson

from flink_jobs.core.parsing import parse_transaction
from flink_jobs.core.transaction import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from flink_jobs.core.transaction import Transaction
    from flink_jobs.traffic.source_files import SourceEvent

UNKNOWN, GENUINE, FRAUD = -1, 0, 1
"""Values of `Dataset.labels`."""


class ModelInput(Protocol):
    """What a replay yields: the part of the stream's feature vector that a model needs."""

    def model_input(self) -> tuple[float, ...]:
        """Return the features in order, absent ones at their neutral value."""
        ...


if TYPE_CHECKING:
    Replay = Callable[[Iterable[Transaction]], Iterator[ModelInput]]
    """Transactions to feature vectors, one at a time, skipping what the stream would not score."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Feature rows in the order of the stream.

    Attributes:
        feature_names: the columns of `inputs`.
        inputs: rows x features, finite.
        event_time_ms: UTC milliseconds, one per row.
        labels: `FRAUD`, `GENUINE` or `UNKNOWN` per row; never an input.
        rejected: events the stream would have dead-lettered; they are not rows.
    """

    feature_names: tuple[str, ...]
    inputs: NDArray[np.float64]
    event_time_ms: NDArray[np.int64]
    labels: NDArray[np.int8]
    rejected: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    def where(self, mask: NDArray[np.bool_]) -> Dataset:
        """Return the rows where `mask` is true."""
        return Dataset(self.feature_names, self.inputs[mask], self.event_time_ms[mask], self.labels[mask])

    def digest(self) -> str:
        """SHA-256 (hex) of names, features and event times; labels do not train and do not count."""
        digest = hashlib.sha256(orjson.dumps([self.feature_names, self.inputs.shape]))
        digest.update(np.ascontiguousarray(self.inputs, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.event_time_ms, dtype="<i8").tobytes())
        return digest.hexdigest()


class _Feed:
    """Hands transactions to the replay and remembers whose turn it is, since the replay may skip some."""

    def __init__(self, events: Iterable[SourceEvent], now_ms: int) -> None:
        self.event_time_ms = 0
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
            self.event_time_ms = parsed.event_time_ms
            self.label = UNKNOWN if event.label is None else FRAUD if event.label else GENUINE
            yield parsed


def build_dataset(
    events: Iterable[SourceEvent], replay: Replay, feature_names: tuple[str, ...], now_ms: int
) -> Dataset:
    """Replay history into training rows.

    Args:
        events: in the order the stream would receive them.
        replay: the stream's own feature code.
        feature_names: names of what `model_input()` returns.
        now_ms: the wall clock the parser holds event times against, UTC milliseconds.

    Raises:
        ValueError: a row is of another length than `feature_names` or holds a number that is not finite.
    """
    feed = _Feed(events, now_ms)
    rows: list[tuple[float, ...]] = []
    times: list[int] = []
    labels: list[int] = []
    for vector in replay(feed):
        rows.append(vector.model_input())
        times.append(feed.event_time_ms)
        labels.append(feed.label)
    inputs = np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else len(feature_names))
    if inputs.shape[1] != len(feature_names) or not np.isfinite(inputs).all():
        message = f"model_input() gave {inputs.shape[1]} features for {len(feature_names)} names, or one is not finite"
        raise ValueError(message)
    return Dataset(
        feature_names, inputs, np.array(times, dtype=np.int64), np.array(labels, dtype=np.int8), feed.rejected
    )


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
    cut = ordered[min(max(int(len(ordered) * train_fraction), 1), len(ordered) - 1)]
    if cut == ordered[0]:
        cut = ordered[-1] + 1
    early = dataset.event_time_ms < cut
    return dataset.where(early), dataset.where(~early)
