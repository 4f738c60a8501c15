"""Rebuilds from the control audit the configuration that was in force at a recorded decision.

A decision records the revision of its configuration. Revisions start at 0 again when a job starts without its
savepoint, so one revision may name several configurations. The time of the decision selects one of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypedDict, cast

import orjson

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import CONTROL_SCHEMA_VERSION, ControlMessage, apply_control, parse_control
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flink_jobs.core.documents import ControlChanges, ControlDocument
    from ml.history.connection import Connection

CLOCKS_APART_MS: Final = 60_000
"""The audit holds the time of one job instance; another instance may apply the same message this much earlier."""
_APPLIED: Final = """
    SELECT control_id, revision, issued_by, issued_at_ms, reason, applied_at_ms, changes
    FROM ops.control_audit WHERE outcome = 'applied' ORDER BY applied_at_ms, revision"""


class AppliedChange(TypedDict):
    """A row of ``ops.control_audit`` with outcome ``applied``: the fields of an ``AuditDocument`` that are needed."""

    control_id: str
    revision: int
    issued_by: str
    issued_at_ms: int
    reason: str
    applied_at_ms: int
    changes: ControlChanges


class Configurations:
    """Every configuration that was in force, by revision and time."""

    def __init__(self, applied: Iterable[AppliedChange]) -> None:
        """Apply the messages of the audit in order.

        Args:
            applied: applied control messages, oldest first.

        Raises:
            UserError: the audit holds a change that this release cannot apply.
        """
        self._first = DetectionConfig()
        self._by_revision: dict[int, list[tuple[int, DetectionConfig]]] = defaultdict(list)
        config: DetectionConfig | None = self._first
        for row in applied:
            if config is None or row["revision"] != config.revision + 1:
                # The job started anew, or a message is missing; then the configuration is unknown until the next start.
                config = self._first if row["revision"] == 1 else None
            if config is not None:
                config = _applied(config, row)
                self._by_revision[config.revision].append((row["applied_at_ms"], config))

    def at(self, revision: int, time_ms: int) -> DetectionConfig:
        """Return the configuration of a revision at a time (UTC milliseconds of the job's clock).

        Raises:
            UserError: the audit lacks the revision.
        """
        if revision == 0:
            return self._first
        known = self._by_revision.get(revision)
        if not known:
            raise UserError(
                f"the control audit lacks a message up to revision {revision}, under which decisions were made",
                "wait until the archive job has no backlog",
            )
        place = bisect_right(known, time_ms + CLOCKS_APART_MS, key=lambda entry: entry[0])
        return known[max(0, place - 1)][1]


def read_configurations(connection: Connection) -> Configurations:
    """Read the control audit."""
    return Configurations(cast("list[AppliedChange]", connection.execute(_APPLIED).fetchall()))


def _applied(config: DetectionConfig, row: AppliedChange) -> DetectionConfig:
    document: ControlDocument = {
        "schema_version": CONTROL_SCHEMA_VERSION,
        "control_id": row["control_id"],
        "issued_by": row["issued_by"],
        "issued_at_ms": row["issued_at_ms"],
        "reason": row["reason"],
        "changes": row["changes"],
    }
    message = parse_control(orjson.dumps(document))
    changed = apply_control(config, message) if isinstance(message, ControlMessage) else message
    if not isinstance(changed, DetectionConfig):
        what = f"this release cannot read control message {row['control_id']!r} of the audit: {changed.detail}"
        raise UserError(what, "use the release that sent the message")
    return changed
