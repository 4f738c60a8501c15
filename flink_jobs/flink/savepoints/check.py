"""Check before a job starts whether it can restore a savepoint.

Flink reports an operator that the job no longer has. It does not report a state that has another name: the job would
start with no state for any customer. A change of the execution mode renames the states.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from flink_jobs.contracts import uids
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.state.codec import NEWEST_VERSION
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.snapshot import local_path, open_snapshot

if TYPE_CHECKING:
    from flink_jobs.flink.savepoints.metadata import Operator
    from flink_jobs.flink.savepoints.snapshot import Snapshot

UIDS: Final = {
    "detect": (*uids.DETECT_UIDS, *uids.OPTIONAL_DETECT_UIDS),
    "canary": (*uids.CANARY_UIDS, *uids.OPTIONAL_DETECT_UIDS),
    "archive": uids.ARCHIVE_UIDS,
    "lake": uids.LAKE_UIDS,
    "merchants": uids.MERCHANTS_UIDS,
}
SAMPLE: Final = 1_000
"""Number of customers whose state version is read: one release wrote most of them, and reading millions is slow."""
_COMMITTER: Final = "Sink Committer: "
"""Prefix that Flink adds to a sink's uid for the operator that commits the sink's transactions."""
_MERCHANTS_FIX: Final = "set STREAMFLOW_RISK_ENTITIES, as the job that wrote it"
_PROCESS_MODE: Final = "python-state-"
"""Prefix that PyFlink adds to a state's name in process mode."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason why a job cannot restore a savepoint, and what to do about it."""

    what: str
    fix: str


def job_of(snapshot: Snapshot) -> str | None:
    """Return the StreamFlow job that wrote a snapshot; ``None`` if another program wrote it."""
    found = {_own_uid(operator) for operator in snapshot.operators}
    if found & set(uids.CANARY_SINKS):
        return "canary"  # all its other operators are those of the detector
    return next((job for job, expected in UIDS.items() if found & set(expected)), None)


def obstacles(snapshot: Snapshot, job: str, mode: str) -> list[Obstacle]:
    """Return all reasons why a job of this release cannot restore a snapshot; an empty list if it can.

    Args:
        snapshot: the open snapshot.
        job: ``detect``, ``canary``, ``archive``, ``lake`` or ``merchants``.
        mode: the execution mode of the new job, ``thread`` or ``process``.

    Raises:
        UserError: the snapshot cannot be read.
    """
    writer = job_of(snapshot)
    if writer != job and (writer, job) != ("detect", "canary"):
        whose = f"the {writer} job" if writer else "another program"
        return [Obstacle(f"{whose} wrote {snapshot.folder}, not the {job} job", "name a savepoint of this job")]
    found = [_unknown_operators(snapshot, job), _other_key_groups(snapshot)]
    if job in {"detect", "canary"}:
        found += [_other_mode(snapshot, mode), _newer_config(snapshot)]
        if mode == "thread" and not any(found):
            found.append(_newer_state(snapshot))
    if job == "merchants":
        found.append(_other_mode(snapshot, mode, uids.MERCHANTS))
    return [obstacle for obstacle in found if obstacle is not None]


def check_savepoint(path: str, job: str, mode: str, *, entities: tuple[Entity, ...] = tuple(Entity)) -> None:
    """Check that a job can restore a savepoint. Flink alone checks a savepoint that this machine cannot read.

    Raises:
        UserError: the job cannot restore it; the message names each reason.
    """
    try:
        folder = local_path(path)
    except UserError:
        return  # in S3, for example
    if not folder.parent.exists():
        return  # on the cluster's own disks
    with open_snapshot(path) as snapshot:
        snapshot.check_files()
        found = obstacles(snapshot, job, mode)
        if not entities and any(item.uid == uids.MERCHANT_RISK_SOURCE for item in snapshot.operators):
            found.append(Obstacle(f"{snapshot.folder} was written with rows of merchants", _MERCHANTS_FIX))
    if found:
        raise UserError("; ".join(item.what for item in found), found[0].fix)


def _own_uid(operator: Operator) -> str:
    return operator.uid.removeprefix(_COMMITTER)


def _unknown_operators(snapshot: Snapshot, job: str) -> Obstacle | None:
    lost = [item.uid for item in snapshot.operators if item.has_state and _own_uid(item) not in UIDS[job]]
    if not lost:
        return None
    return Obstacle(
        f"{snapshot.folder} holds state of {', '.join(lost)}, which this release's {job} job does not have",
        "run the release that wrote it, or a newer one",
    )


def _other_key_groups(snapshot: Snapshot) -> Obstacle | None:
    other = {item.max_parallelism for item in snapshot.operators if item.keyed_states} - {uids.MAX_PARALLELISM}
    if not other:
        return None
    return Obstacle(
        f"{snapshot.folder} has {other.pop()} key groups, this job {uids.MAX_PARALLELISM}",
        "submit with the maximum parallelism that the savepoint was written with; it never changes",
    )


def _other_mode(snapshot: Snapshot, mode: str, operator: str = uids.DETECTOR) -> Obstacle | None:
    names = snapshot.keyed_state_names(operator)
    if not names:
        return None
    written_in = "process" if any(name.startswith(_PROCESS_MODE) for name in names) else "thread"
    if written_in == mode:
        return None
    return Obstacle(
        f"{snapshot.folder} was written in {written_in} mode; in {mode} mode PyFlink keeps state under other names, "
        "and the job would start without any customer's state",
        f"submit with STREAMFLOW_EXECUTION_MODE={written_in}, or without a savepoint to start with no customers",
    )


def _newer_config(snapshot: Snapshot) -> Obstacle | None:
    stored = snapshot.config()
    try:
        if stored is not None:
            DetectionConfig.from_json(stored)
    except ValueError as error:
        return Obstacle(f"{snapshot.folder}: {error}", "run the release that wrote it, or a newer one")
    return None


def _newer_state(snapshot: Snapshot) -> Obstacle | None:
    if snapshot.is_incremental:
        return None  # only RocksDB can read the customers of a checkpoint
    newest = max((customer.version for customer in islice(snapshot.customers(), SAMPLE)), default=0)
    if newest <= NEWEST_VERSION:
        return None
    return Obstacle(
        f"{snapshot.folder} holds customers of state version {newest}, this release reads up to {NEWEST_VERSION}",
        "run the release that wrote it, or a newer one",
    )
