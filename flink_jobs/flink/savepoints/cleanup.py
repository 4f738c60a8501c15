"""Old snapshots: which may be deleted, and their deletion on request.

Flink deletes the checkpoints that a running job no longer needs, and nothing else. A job that resumes from a snapshot
leaves it in place (``NO_CLAIM``), so snapshots of ended jobs stay until a user deletes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flink_jobs.changing_folders import delete_below, paths_in, size_below
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.check import job_of
from flink_jobs.flink.savepoints.latest import INPUT, Place, completed, taken_s
from flink_jobs.flink.savepoints.snapshot import local_path, open_snapshot

KEEP: Final = 3
"""Snapshots of each job that are always kept: the newest ones."""
RECORD: Final = "deleted.jsonl"
"""In the savepoint folder: one line for each deleted snapshot."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A folder that is kept or deleted as a whole: a savepoint, or all checkpoints of one job id.

    Attributes:
        folder: the folder.
        kind: ``savepoint``, ``checkpoints`` or ``incomplete``.
        job: ``detect`` or ``archive``; ``None`` if unknown.
        taken_s: when its newest snapshot completed, in seconds since the epoch.
        bytes: size of its files.
        kept: why it must stay; empty if it may be deleted.
    """

    folder: Path
    kind: str
    job: str | None
    taken_s: float
    bytes: int
    kept: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for tables, JSON and the record of deletions."""
        return {
            "folder": str(self.folder),
            "kind": self.kind,
            "job": self.job,
            "taken": datetime.fromtimestamp(self.taken_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "bytes": self.bytes,
            "kept": self.kept or None,
        }


def stored(place: Place, running: Callable[[], Mapping[str, str | None]], *, keep: int = KEEP) -> list[Stored]:
    """Return every stored snapshot of a stack, newest first, each with the reason why it must stay, if any.

    Args:
        place: where they are.
        running: returns the id of each active job, and the path it was restored from. It is called after the folders
            are listed, so each folder of a job that starts meanwhile is either not listed or known as active.
        keep: how many of each job are kept, counted from the newest.

    Raises:
        UserError: the folders are not on this machine.
    """
    checkpoints, savepoints = local_path(place.checkpoints), local_path(place.savepoints)
    folders = {path for path in paths_in(checkpoints, "*") if path.is_dir() and path != savepoints}
    folders = {path for path in folders if not path.name.startswith("savepoint-")}
    folders |= {path for path in paths_in(savepoints, "savepoint-*") if path.is_dir()}
    active = running()
    restored = {local_path(path) for path in active.values() if path}
    whole, _ = completed(checkpoints, savepoints)
    kept_of: Counter[str] = Counter()
    dated = {folder: max(map(taken_s, _within(folder, whole)), default=taken_s(folder)) for folder in folders}
    result = []
    for folder in sorted(filter(Path.exists, folders), key=lambda item: dated[item], reverse=True):
        snapshots = list(_within(folder, whole))
        kind, job, kept = _judged(snapshots, place)
        is_active = folder.name in active
        if is_active:
            kept = "its job runs"
        elif kind == "incomplete" and active:
            kept = "it may be in progress: a job runs"
        elif restored & {folder, *snapshots}:
            kept = "a running job was started from it"
        elif not kept and job is not None:
            kept_of[job] += 1
            kept = f"one of the newest {keep} of {job}" if kept_of[job] <= keep else ""
        if is_active and job is not None:
            kept_of[job] += 1
        result.append(Stored(folder, kind, job, dated[folder], size_below(folder), kept))
    return result


def delete(items: Iterable[Stored], savepoints: Path) -> Iterator[Stored]:
    """Delete snapshots that may be deleted, and yield each after it is gone; a line of the record names it before.

    Args:
        items: as ``stored`` returns them; those with a reason to stay are passed over.
        savepoints: the savepoint folder, which holds the record.
    """
    for item in items:
        if item.kept:
            continue
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with (savepoints / RECORD).open("a", encoding="utf-8") as record:
            record.write(json.dumps({"deleted_at": at, **item.as_dict()}) + "\n")
        delete_below(item.folder)
        yield item


def _within(folder: Path, snapshots: Iterable[Path]) -> Iterator[Path]:
    return (item for item in snapshots if folder in {item, item.parent})


def _judged(snapshots: list[Path], place: Place) -> tuple[str, str | None, str]:
    """Return kind, job, and why the folder must stay as far as its content shows it."""
    if not snapshots:
        return "incomplete", None, ""
    kind = "savepoint" if snapshots[0].name.startswith("savepoint-") else "checkpoints"
    try:
        with open_snapshot(str(snapshots[0])) as snapshot:
            job = job_of(snapshot)
            if job is None:
                return kind, None, "another program wrote it"
            if not snapshot.reads_topic(topic_name(place.topic_prefix, INPUT[job])):
                return kind, job, "it belongs to another topic prefix"
    except UserError as error:
        return kind, None, f"it cannot be read: {error.what}"
    return kind, job, ""
