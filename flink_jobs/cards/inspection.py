"""Reads a card file through a mapping and counts the rows that would be rejected, before anything is sent."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from flink_jobs.cards.card_files import SkippedRows, read_events
from flink_jobs.cards.row_errors import BY_MAPPING
from flink_jobs.cards.time_hints import detail_in_file
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.cards.mapping import ColumnMapping
    from flink_jobs.cards.row_errors import RowError


@dataclass(slots=True)
class Refusal:
    """The rows of one reason.

    Attributes:
        by: ``reader``: the row cannot be read; ``detector``: the detector would send it to the dead-letter topic.
        count: number of rows.
        first: place and problem of the first row.
    """

    by: str
    count: int
    first: str


@dataclass(slots=True)
class Inspection:
    """The counts of one file.

    Attributes:
        rows: rows read, with those that are refused.
        accepted: rows that the detector would score.
        labels: accepted rows by label: fraud, genuine and unlabelled.
        refunds: rows that the mapping leaves out as refunds.
        refused: other rows that are not accepted, by reason.
        first_ms: smallest event time of the accepted rows.
        last_ms: largest event time of the accepted rows.
        out_of_order: accepted rows that are earlier than the row before.
    """

    rows: int = 0
    accepted: int = 0
    labels: dict[str, int] = field(default_factory=lambda: {"fraud": 0, "genuine": 0, "unlabelled": 0})
    refunds: int = 0
    refused: dict[str, Refusal] = field(default_factory=dict)
    first_ms: int | None = None
    last_ms: int | None = None
    out_of_order: int = 0

    def refuse(self, reason: str, by: str, problem: str) -> None:
        """Count one refused row."""
        found = self.refused.setdefault(reason, Refusal(by, 0, problem))
        found.count += 1


def inspect_file(
    path: Path,
    mapping: ColumnMapping,
    now_ms: int,
    limit: int | None = None,
    progress: Callable[[Iterable[SourceEvent]], Iterator[SourceEvent]] = iter,
) -> Inspection:
    """Read a card file and count.

    Args:
        path: the file.
        mapping: names the columns.
        now_ms: the caller's clock, milliseconds since the epoch: the detector rejects transactions of the future.
        limit: largest number of readable rows; None: all.
        progress: wraps the stream of rows.

    Raises:
        UserError: the file cannot be read, or lacks a column of the mapping.
    """
    result = Inspection()

    def left_out(error: RowError) -> None:
        if error.reason in BY_MAPPING:
            result.refunds += 1
        else:
            result.refuse(error.reason.value, "reader", f"row {error.row}: {error.message}")

    skipped = SkippedRows(on_skip=left_out)
    before: int | None = None
    for event in progress(itertools.islice(read_events(path, mapping, skipped), limit)):
        answer = parse_transaction(orjson.dumps(event.transaction), now_ms)
        if isinstance(answer, Rejection):
            detail = detail_in_file(answer, mapping, event.transaction["event_time_ms"])
            result.refuse(answer.reason.value, "detector", f"row {event.row}: {detail}")
            continue
        result.accepted += 1
        result.labels[{True: "fraud", False: "genuine", None: "unlabelled"}[event.label]] += 1
        at = answer.event_time_ms
        result.first_ms = at if result.first_ms is None else min(result.first_ms, at)
        result.last_ms = at if result.last_ms is None else max(result.last_ms, at)
        result.out_of_order += before is not None and at < before
        before = at
    result.rows = result.accepted + result.refunds + sum(refusal.count for refusal in result.refused.values())
    return result
