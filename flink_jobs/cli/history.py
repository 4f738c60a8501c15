"""History as a data set, with what a report must say of where it came from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from flink_jobs.cards.card_files import SkippedRows, mapping_for, read_events
from flink_jobs.cli.output import say
from flink_jobs.cli.progress import counted
from flink_jobs.cli.times import moment_ms
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT, load_settings

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from ml.dataset import Dataset


From = Annotated[
    bool,
    typer.Option("--from-decisions", help="history is what the job recorded: features as served, labels in Postgres"),
]
Since = Annotated[str | None, typer.Option(help="recorded decisions from this event time on: 30d, or ISO 8601")]
Until = Annotated[str | None, typer.Option(help="recorded decisions before this event time")]
LabelsUntil = Annotated[str | None, typer.Option(help="of recorded decisions: only labels given by then; default: all")]
RECORDED = "raw.decisions"
REVISION = "STREAMFLOW_REVISION"
"""Names the commit where there is no checkout to ask: the images set it."""


class History(NamedTuple):
    """Rows, and where they come from."""

    dataset: Dataset
    source: str
    """Name of the file, or `RECORDED`."""
    sha256: str | None
    """Digest of the file's bytes; None of recorded decisions."""


def read_history(
    data: Path | None,
    mapping: Path | None,
    recorded: tuple[str | None, str | None, str | None],
    config: DetectionConfig | None = None,
    *,
    from_decisions: bool,
    skip_bad_rows: bool,
) -> History:
    """Read a card file, or what the job recorded; exactly one of them.

    Args:
        data: the file; None with `from_decisions`.
        mapping: see `read_dataset`.
        recorded: --since, --until and --labels-until.
        config: see `read_dataset`.
        from_decisions: read what the job recorded.
        skip_bad_rows: see `read_dataset`.

    Raises:
        UserError: options contradict each other, or history cannot be read.
    """
    if from_decisions == (data is not None):
        raise UserError("history is either a file or the recorded decisions", "give --data FILE or --from-decisions")
    if data is None:
        if mapping or skip_bad_rows:
            raise UserError("--mapping and --skip-bad-rows are for a file", "leave them out with --from-decisions")
        return History(read_recorded(*recorded, config), RECORDED, None)
    if any(recorded):
        raise UserError("--since, --until and --labels-until choose recorded decisions", "leave them out with --data")
    return History(read_dataset(data, mapping, config, skip_bad_rows=skip_bad_rows), data.name, file_sha256(data))


def read_dataset(
    data: Path, mapping: Path | None, config: DetectionConfig | None = None, *, skip_bad_rows: bool
) -> Dataset:
    """Replay a card file into rows and say what was left out of it.

    Args:
        data: file that `replay` takes.
        mapping: its columns; None: the mapping beside it.
        config: rules under which the rows are looked at; None: what a job starts with.
        skip_bad_rows: count rows that cannot be mapped instead of ending.

    Raises:
        UserError: the file or its mapping cannot be read.
    """
    from ml.dataset import build_dataset

    skipped = SkippedRows() if skip_bad_rows else None
    events = read_events(data, mapping_for(data, mapping), skipped)
    dataset = build_dataset(counted(events, "replaying history"), time.time_ns() // 1_000_000, config)
    if skipped is not None and skipped.count:
        say(f"rows left out because they cannot be mapped: {skipped.count:,}; the first: {skipped.first}")
    if dataset.rejected:
        say(f"rows left out because the stream would reject them: {dataset.rejected:,}")
    return dataset


def read_recorded(
    since: str | None, until: str | None, labels_until: str | None, config: DetectionConfig | None = None
) -> Dataset:
    """Read what the job recorded as rows.

    Args:
        since: first event time, as `moment_ms` reads it; None: from the beginning.
        until: event time they lie before, likewise.
        labels_until: only labels given by then count, likewise.
        config: see `read_dataset`.

    Raises:
        UserError: the database does not answer, a time is none, or nothing was recorded.
    """
    from ml.history.connection import warehouse
    from ml.history.dataset import recorded_dataset
    from ml.history.decisions import Period, measure_period, read_decisions

    now_ms = time.time_ns() // 1_000_000
    period = Period(
        since_ms=None if since is None else moment_ms(since, "--since", now_ms),
        until_ms=None if until is None else moment_ms(until, "--until", now_ms),
        labels_until_ms=None if labels_until is None else moment_ms(labels_until, "--labels-until", now_ms),
    )
    with warehouse(load_settings().postgres_dsn) as connection:
        extent = measure_period(connection, period)
        if not extent.decisions:
            raise UserError("no decision is recorded in this period", "choose another, or wait for the archive job")
        decisions = counted(read_decisions(connection, period), "reading decisions", extent.decisions)
        return recorded_dataset(decisions, config)


def file_sha256(path: Path) -> str:
    """Return the digest of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_version() -> str:
    """Return the release, and the commit where this is a git checkout or an image that was told it."""
    with (REPO_ROOT / "pyproject.toml").open("rb") as file:
        release = str(tomllib.load(file)["project"]["version"])
    commit = os.environ.get(REVISION, "") if not (REPO_ROOT / ".git").exists() else _checked_out()
    return f"{release}+{commit[:12]}" if commit else release


def _checked_out() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    answer = subprocess.run(
        [git, "-C", str(REPO_ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()
