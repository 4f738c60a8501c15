"""A card file as a data set, with what a report must say of where it came from."""

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
from flink_jobs.settings import REPO_ROOT
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
