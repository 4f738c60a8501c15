"""The settings that were in force at a recorded decision, rebuilt from the control audit.

A decision records the revision it was made under. Revisions count from 0 again when a job is started without its
savepoint, so a revision may stand for several configurations; the moment of the decision tells which.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import CONTROL_SCHEMA_VERSION, ControlMessage, apply_control, parse_control
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml.history.connection import Connection

CLOCKS_APART_MS: Final = 60_000
"""The audit holds the time of one instance of the job; another may have applied the same message this much earlier."""
_APPLIED: Final = """
    SELECT control_id, revision, issued_by, issued_at_ms, reason, applied_at_ms, changes
    FROM ops.control_audit WHERE outcome = 'applied' ORDER BY applied_at_ms, revision"""


class Configurations:
    """Every configuration that was in force, by revision and time."""

    def __init__(self, applied: Iterable[Mapping[str, Any]]) -> None:
        """Apply the audit's messages in order.

        Args:
            applied: rows of `ops.control_audit` with outcome `applied`, oldest first.

        Raises:
            UserError: the audit holds a change that this release does not know.
        """
        self._first = DetectionConfig()
        self._by_revision: dict[int, list[tuple[int, DetectionConfig]]] = defaultdict(list)
        config: DetectionConfig | None = self._first
        for row in applied:
            if config is None or row["revision"] != config.revision + 1:
                # Another start of the job; or a message is missing, and then nothing is known until the next start.
                config = self._first if row["revision"] == 1 else None
            if config is not None:
                config = _applied(config, row)
                self._by_revision[config.revision].append((row["applied_at_ms"], config))

    def at(self, revision: int, time_ms: int) -> DetectionConfig:
        """Return the configuration of `revision` at a moment (UTC milliseconds of the job's clock).

        Raises:
            UserError: the audit does not know the revision.
        """
        if revision == 0:
            return self._first
        known = self._by_revision.get(revision)
        if not known:
            raise UserError(
                f"decisions were made under revision {revision}, which the control audit does not have whole",
                "wait until the archive job has caught up",
            )
        place = bisect_right(known, time_ms + CLOCKS_APART_MS, key=lambda entry: entry[0])
        return known[max(0, place - 1)][1]


def read_configurations(connection: Connection) -> Configurations:
    """Read the control audit."""
    return Configurations(connection.execute(_APPLIED).fetchall())


def _applied(config: DetectionConfig, row: Mapping[str, Any]) -> DetectionConfig:
    message = parse_control(
        orjson.dumps(
            {
                "schema_version": CONTROL_SCHEMA_VERSION,
                "control_id": row["control_id"],
                "issued_by": row["issued_by"],
                "issued_at_ms": row["issued_at_ms"],
                "reason": row["reason"],
                "changes": row["changes"],
            }
        )
    )
    changed = apply_control(config, message) if isinstance(message, ControlMessage) else message
    if not isinstance(changed, DetectionConfig):
        what = f"this release cannot read control message {row['control_id']!r} of the audit: {changed.detail}"
        raise UserError(what, "use the release that sent it")
    return changed
