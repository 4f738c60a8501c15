"""The snapshots in Flink's folders, and the one that a job resumes from.

    <checkpoints>/<job id>/chk-<number>/_metadata
    <savepoints>/savepoint-<job id>-<random>/_metadata

Flink writes ``_metadata`` last and renames it into place: a folder without it holds a snapshot that did not complete.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from flink_jobs.changing_folders import paths_in
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.check import job_of, obstacles
from flink_jobs.flink.savepoints.snapshot import METADATA, Snapshot, local_path, open_snapshot

Kind = Literal["checkpoint", "savepoint"]
INPUT: Final = {
    "detect": "transactions", "canary": "transactions", "archive": "decisions", "lake": "decisions",
    "merchants": "decisions",
}  # fmt: skip
"""The topic, by the end of its name, that shows which installation a job's snapshot belongs to."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the snapshots of an installation are, and which of them are its own.

    Attributes:
        checkpoints: URI of Flink's checkpoint folder.
        savepoints: URI of Flink's savepoint folder.
        topic_prefix: of the topics that the job reads; two installations may share the folders.
        mode: execution mode that the job will have, ``thread`` or ``process``.
        entities: whose history the job of merchants will keep.
    """

    checkpoints: str
    savepoints: str
    topic_prefix: str
    mode: str = "thread"
    entities: tuple[Entity, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A completed snapshot of a job.

    Attributes:
        folder: the folder with its ``_metadata``.
        taken_s: when it completed, in seconds since the epoch.
        kind: a checkpoint's keyed state is in RocksDB's own files.
        skipped: folders of newer snapshots that did not complete.
        names_model: the configuration in it names the model; the job does not start with that of the settings.
    """

    folder: Path
    taken_s: float
    kind: Kind
    skipped: tuple[Path, ...] = ()
    names_model: bool = False

    @property
    def uri(self) -> str:
        """Return the path as Flink takes it."""
        return self.folder.as_uri()

    def age_s(self, now_s: float | None = None) -> float:
        """Return its age in seconds."""
        return max(0.0, (time.time() if now_s is None else now_s) - self.taken_s)

    def customers(self) -> tuple[int | None, str]:
        """Return the number of customers in it; where it cannot be counted, ``None`` and the reason."""
        try:
            with open_snapshot(str(self.folder)) as snapshot:
                return snapshot.count_customers(), ""
        except UserError as error:
            return None, error.what


def completed(checkpoints: Path, savepoints: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders of completed snapshots, newest first, and those of snapshots that did not complete."""
    folders = {*paths_in(checkpoints, "*/chk-*"), *paths_in(savepoints, "savepoint-*")}
    dated: list[Path] = []
    broken: list[Path] = []
    for folder in folders:
        try:
            status = (folder / METADATA).stat()
        except OSError:
            broken.append(folder)
            continue
        # An empty file is what a crash of the machine leaves behind.
        (dated if status.st_size else broken).append(folder)
    return sorted(dated, key=taken_s, reverse=True), sorted(broken)


def taken_s(folder: Path) -> float:
    """Return when a snapshot completed, else when its folder last changed (seconds since the epoch; 0: it is gone)."""
    for path in (folder / METADATA, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def newest(job: str, place: Place) -> Found | None:
    """Return the newest completed snapshot of a job that this release can restore; ``None`` if the job has none.

    Args:
        job: ``detect``, ``archive``, ``lake`` or ``merchants``.
        place: where to look.

    Raises:
        UserError: the folders cannot be searched from here, or the newest snapshot cannot be restored. An older one is
            never taken instead: everything since would be scored twice.
    """
    checkpoints, savepoints = (_folder(uri, job) for uri in (place.checkpoints, place.savepoints))
    folders, broken = completed(checkpoints, savepoints)
    for folder in folders:
        try:
            with open_snapshot(str(folder)) as snapshot:
                if job_of(snapshot) != job or not snapshot.reads_topic(topic_name(place.topic_prefix, INPUT[job])):
                    continue
                _require_usable(snapshot, job, place.mode)
                at_s = taken_s(folder)
                newer = tuple(item for item in broken if taken_s(item) > at_s)
                kind: Kind = "checkpoint" if snapshot.is_incremental else "savepoint"
                return Found(folder, at_s, kind, newer, names_model=_names_model(snapshot))
        except UserError as error:
            raise UserError(f"the newest snapshot cannot be restored: {error.what}", _way_out(job, error.fix)) from None
    return None


def _require_usable(snapshot: Snapshot, job: str, mode: str) -> None:
    snapshot.check_files()
    found = obstacles(snapshot, job, mode)
    if found:
        raise UserError("; ".join(item.what for item in found), found[0].fix)


def _names_model(snapshot: Snapshot) -> bool:
    stored = snapshot.config()
    return stored is not None and DetectionConfig.from_json(stored).model_version is not None


def _folder(uri: str, job: str) -> Path:
    """Return a folder of snapshots.

    Raises:
        UserError: it is in object storage, or not on this machine. No snapshot found there would prove nothing.
    """
    try:
        folder = local_path(uri)
    except UserError:
        raise UserError(
            f"the snapshots of {job} are in {uri}, which this command cannot search",
            _way_out(job, f"list them with the storage's own client (`aws s3 ls {uri}/`)"),
        ) from None
    if not folder.is_dir():
        raise UserError(
            f"{folder}, the folder of snapshots, is not on this machine, so snapshots of {job} cannot be searched",
            _way_out(job, "check STREAMFLOW_CHECKPOINT_DIR and STREAMFLOW_SAVEPOINT_DIR"),
        )
    return folder


def _way_out(job: str, first: str) -> str:
    return (
        f"{first}; or name a snapshot with `streamflow submit {job} --from-savepoint PATH`, "
        f"or start without state with `streamflow submit {job} --fresh`"
    )
