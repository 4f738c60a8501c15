"""Reads the data set of ``train`` and ``evaluate`` from a card file or from recorded decisions."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.cards.time_order import oldest_first
from flink_jobs.cli.file_state import CardFileState
from flink_jobs.cli.output import say
from flink_jobs.cli.progress import counted
from flink_jobs.cli.row_reports import RejectedRows, SkipList
from flink_jobs.cli.times import moment_ms
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.own_features.values import OwnValues
    from ml.dataset import Dataset
    from ml.history.decisions import Period

RECORDED = "raw.decisions"
T = TypeVar("T")


class DataChoice(NamedTuple):
    """The options that choose the data; ``data_options`` describes each."""

    data: Path | None
    mapping: Path | None
    skip_bad_rows: bool
    from_decisions: bool
    since: str | None
    until: str | None
    labels_until: str | None
    processes: int | None = None
    cache: Path | None = None


class SourcedDataset(NamedTuple):
    """A data set and its source."""

    dataset: Dataset
    source: str
    """Name of the file, or ``RECORDED``."""
    sha256: str | None
    """Digest of the file, hex; None for recorded decisions."""


def read_data(
    choice: DataChoice, config: DetectionConfig | None = None, own: OwnValues | None = None
) -> SourcedDataset:
    """Read a card file or recorded decisions.

    Args:
        choice: the options of the command.
        config: the rules that score the rows; None: the rules that a job starts with.
        own: the own features to compute, or to read from recorded decisions.

    Raises:
        UserError: options contradict each other, or the data cannot be read.
    """
    check_one_source(choice.data, from_decisions=choice.from_decisions)
    if choice.data is None:
        if choice.mapping or choice.skip_bad_rows:
            fix = "leave them out with --from-decisions"
            raise UserError("--mapping and --skip-bad-rows are for a file", fix, ErrorCode.USAGE_ERROR)
        return SourcedDataset(_read_recorded(choice, config, own), RECORDED, None)
    if choice.since or choice.until or choice.labels_until:
        what = "--since, --until and --labels-until choose recorded decisions"
        raise UserError(what, "leave them out with --data", ErrorCode.USAGE_ERROR)
    return _read_file(choice.data, choice, config, own)


def check_one_source(data: Path | None, *, from_decisions: bool) -> None:
    """Check that a command names a card file or recorded decisions, and not both.

    Raises:
        UserError: both or none.
    """
    if from_decisions == (data is not None):
        what = "the data is either a file or the recorded decisions"
        raise UserError(what, "give --data FILE or --from-decisions", ErrorCode.USAGE_ERROR)


def period_of(since: str | None, until: str | None, labels_until: str | None = None) -> Period:
    """Return the period that the options choose.

    Raises:
        UserError: a text is not a time.
    """
    from ml.history.decisions import Period

    now_ms = time.time_ns() // 1_000_000

    def at(text: str | None, option: str) -> int | None:
        return None if text is None else moment_ms(text, option, now_ms)

    return Period(at(since, "--since"), at(until, "--until"), at(labels_until, "--labels-until"))


def use_file(
    path: Path,
    mapping: Path | None,
    use: Callable[[Iterable[SourceEvent], RejectedRows], T],
    *,
    skip_bad_rows: bool,
    report: Callable[[str], None] | None = None,
) -> T:
    """Return what ``use`` returns for the events of a card file, oldest first, and report the rows that are left out.

    Args:
        path: the card file.
        mapping: its column mapping; None: the file beside it.
        use: consumes the events and counts rejected rows; called again if the file must be sorted.
        skip_bad_rows: skip and list rows that cannot be read, in place of an error.
        report: gets each line about rows that are left out; None: they are printed.

    Raises:
        UserError: the file cannot be read, or a row cannot be read and is not skipped.
    """
    columns = mapping_for(path, mapping)
    skipped, rejected = SkipList(path, takes_errors=skip_bad_rows), RejectedRows(columns)

    def read() -> Iterable[SourceEvent]:
        nonlocal skipped, rejected
        skipped.discard()
        skipped, rejected = SkipList(path, takes_errors=skip_bad_rows), RejectedRows(columns)
        return read_events(path, columns, skipped)

    def sorting(number: int) -> None:
        say(
            f"{path} is not oldest first: transaction {number:,} is earlier than the one before it. Sorting by time ..."
        )

    try:
        return oldest_first(read, lambda events: use(counted(events, "replaying the file"), rejected), sorting)
    finally:
        skipped.report(report)
        rejected.report(report)


def _read_file(path: Path, choice: DataChoice, config: DetectionConfig | None, own: OwnValues | None) -> SourcedDataset:
    from flink_jobs.cli.cached_rows import CachedReplay, Replayed
    from ml.replay_processes import replay, usable_processes

    now_ms = time.time_ns() // 1_000_000
    processes = choice.processes or usable_processes()

    def read(report: Callable[[str], None]) -> Replayed:
        reasons: Counter[str] = Counter()

        def build(events: Iterable[SourceEvent], rejected: RejectedRows) -> Dataset:
            nonlocal reasons
            reasons = rejected.by_reason
            return replay(events, now_ms, config, rejected.add, own, processes=processes)

        rows = use_file(path, choice.mapping, build, skip_bad_rows=choice.skip_bad_rows, report=report)
        state.check()
        return Replayed(rows, reasons)

    state = CardFileState(path, choice.mapping)
    if choice.cache is None:
        return SourcedDataset(read(say).dataset, path.name, state.sha256)
    cached = CachedReplay(choice.cache, state, skip_bad_rows=choice.skip_bad_rows)
    return SourcedDataset(cached.rows(config, own, now_ms, read), path.name, state.sha256)


def _read_recorded(choice: DataChoice, config: DetectionConfig | None, own: OwnValues | None) -> Dataset:
    from ml.history.connection import warehouse
    from ml.history.decisions import measure_period, read_decisions
    from ml.history.recorded_dataset import recorded_dataset

    period = period_of(choice.since, choice.until, choice.labels_until)
    with warehouse(load_settings().postgres_dsn) as connection:
        extent = measure_period(connection, period)
        if not extent.decisions:
            fix = "choose another period, or start the archive job, which records decisions"
            raise UserError("no decision is recorded in this period", fix)
        decisions = counted(read_decisions(connection, period), "reading decisions", extent.decisions)
        return recorded_dataset(decisions, config, None if own is None else own.features)
