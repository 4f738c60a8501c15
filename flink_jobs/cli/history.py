"""History as a data set, with what a report must say of where it came from."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.cli.output import say
from flink_jobs.cli.progress import counted
from flink_jobs.cli.times import moment_ms
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT, load_settings
from flink_jobs.traffic.source_files import SkippedRows, mapping_for, read_events

if TYPE_CHECKING:
    from flink_jobs.core.config import DetectionConfig
    from ml.dataset import Dataset


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


def read_recorded(since: str | None, until: str | None, labels_until: str | None) -> Dataset:
    """Read what the job recorded as rows.

    Args:
        since: first event time, as `moment_ms` reads it; None: from the beginning.
        until: event time they lie before, likewise.
        labels_until: only labels given by then count, likewise.

    Raises:
        UserError: the database does not answer, a time is none, or nothing was recorded.
    """
    from ml.warehouse.connection import warehouse
    from ml.warehouse.dataset import recorded_dataset
    from ml.warehouse.decisions import Period, measure_period, read_decisions

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
        return recorded_dataset(counted(read_decisions(connection, period), "reading decisions", extent.decisions))


def file_sha256(path: Path) -> str:
    """Return the digest of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_version() -> str:
    """Return the release, and the commit where this is a git checkout."""
    with (REPO_ROOT / "pyproject.toml").open("rb") as file:
        release = str(tomllib.load(file)["project"]["version"])
    git = shutil.which("git")
    if git is None or not (REPO_ROOT / ".git").exists():
        return release
    answer = subprocess.run(
        [git, "-C", str(REPO_ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    commit = answer.stdout.strip()
    return f"{release}+{commit}" if answer.returncode == 0 and commit else release
