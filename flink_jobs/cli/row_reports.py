"""Reports rows of a card file that are left out: a list of the skipped rows, and counts by reason."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flink_jobs.cards.card_files import SkippedRows, SourceEvent
from flink_jobs.cards.time_hints import detail_in_file
from flink_jobs.cli.output import say
from flink_jobs.settings import stack_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from flink_jobs.cards.card_files import RowError
    from flink_jobs.cards.mapping import ColumnMapping
    from flink_jobs.core.transaction import Rejection


class SkipList(SkippedRows):
    """Counts the rows of a card file that are left out, and lists them in a CSV file: row, column, reason, message."""

    def __init__(self, source: Path, folder: Path | None = None, *, takes_errors: bool = True) -> None:
        """Prepare the list; its file is created with the first row.

        Args:
            source: the card file.
            folder: folder of the list; None: ``skipped`` in the home of the stack.
            takes_errors: skip rows that cannot be read, and not only the refunds that the mapping leaves out.
        """
        super().__init__(on_skip=self._write, takes_errors=takes_errors)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.path = (folder or stack_home() / "skipped") / f"{source.name}-{now}.csv"
        self._file: Any = None
        self._rows: Any = None

    def _write(self, error: RowError) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._rows = csv.writer(self._file)
            self._rows.writerow(["row", "column", "reason", "message"])
        self._rows.writerow([error.row, error.column or "", error.reason.value, error.message])

    def discard(self) -> None:
        """Delete the list: the file is read again from its beginning."""
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)

    def report(self, tell: Callable[[str], None] | None = None) -> None:
        """Complete the list, and print the counts by reason, the first row and the path of the list."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        if self.count:
            tell = tell or say
            tell(f"{self.count:,} rows were skipped ({counts(self.by_reason)}); the first: {self.first}")
            tell(f"All skipped rows are listed in {self.path}")


@dataclass(slots=True)
class RejectedRows:
    """Counts the rows that the detector would reject.

    Attributes:
        mapping: the mapping of the file.
        by_reason: number of rows by reason.
        first: the first row and its problem; empty if there is none.
    """

    mapping: ColumnMapping
    by_reason: Counter[str] = field(default_factory=Counter)
    first: str = ""

    def add(self, event: SourceEvent, rejection: Rejection) -> None:
        """Count one row."""
        if not self.first:
            place = f"transaction {event.transaction['transaction_id']!r}" if event.row is None else f"row {event.row}"
            self.first = f"{place}: {detail_in_file(rejection, self.mapping, event.transaction['event_time_ms'])}"
        self.by_reason[rejection.reason.value] += 1

    def report(self, tell: Callable[[str], None] | None = None) -> None:
        """Print the counts by reason and the first row."""
        total = self.by_reason.total()
        if total:
            tell = tell or say
            tell(f"{total:,} rows were left out because the detector would reject them ({counts(self.by_reason)})")
            tell(f"The first rejected row: {self.first}")


@dataclass(slots=True)
class TimeOrder:
    """Counts the events of a replay that are earlier than an event before them.

    Attributes:
        early: number of these events.
        total: number of all events.
        first: the first of these events, from 1; 0 if there is none.
    """

    early: int = 0
    total: int = 0
    first: int = 0

    def watched(self, events: Iterable[SourceEvent]) -> Iterator[SourceEvent]:
        """Yield the events and count."""
        latest = 0
        for event in events:
            self.total += 1
            time_ms = event.transaction["event_time_ms"]
            if time_ms < latest:
                if not self.early:
                    say(f"Warning: the file is not oldest first; transaction {self.total:,} is too early.")
                self.early += 1
                self.first = self.first or self.total
            latest = max(latest, time_ms)
            yield event

    def report(self, path: Path) -> None:
        """Print the counts if the file is not oldest first."""
        if self.early:
            say(
                f"{self.early:,} of {self.total:,} transactions of {path} are earlier than one before them, first "
                f"transaction {self.first:,}. The detector scored them as late events; sort the file by time."
            )


def counts(by_reason: Mapping[Any, int]) -> str:
    """Return counts by reason as text, the largest first."""
    ordered = sorted(by_reason.items(), key=lambda item: (-item[1], str(item[0])))
    return ", ".join(f"{reason} {count:,}" for reason, count in ordered)
