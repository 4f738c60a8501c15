"""Runs one drift check: reads recorded decisions, compares them with the manifest and stores the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.reference import SCORE
from ml.drift.check import DAY_MS, DriftCheck, Thresholds, check_drift
from ml.history.manifests import find_manifest
from ml.history.serving import keep_check, latest_decision, read_observed

if TYPE_CHECKING:
    from ml.history.connection import Connection


@dataclass(frozen=True, slots=True)
class Watch:
    """Model and window to check.

    Attributes:
        model_dir: folder of model versions.
        version: model version; None: the model of the decision loaded last.
        since_ms: start of the window in event time, UTC milliseconds, inclusive; None: ``days`` before the end.
        until_ms: end of the window in event time, UTC milliseconds, exclusive; None: right after the newest event.
        days: length of the window when ``since_ms`` is None.
        thresholds: see ``Thresholds``.
    """

    model_dir: Path
    version: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    days: float = 7.0
    thresholds: Thresholds = field(default_factory=Thresholds)


def run_check(connection: Connection, watch: Watch, checked_at: datetime) -> DriftCheck:
    """Check a model and store the result in ``ops.model_drift``.

    Raises:
        UserError: the model has no recorded decision or no manifest.
    """
    latest = latest_decision(connection, watch.version, watch.until_ms)
    manifest = find_manifest(connection, watch.model_dir, latest.model_version)
    until_ms = latest.event_time_ms + 1 if watch.until_ms is None else watch.until_ms
    since_ms = until_ms - round(watch.days * DAY_MS) if watch.since_ms is None else watch.since_ms
    referenced = manifest.reference.bins if manifest.reference else {}
    served = tuple(name for name in referenced if name in FEATURE_NAMES and name != SCORE)
    trained_ms = manifest.training_data.last_event_time_ms
    observed = read_observed(connection, latest.model_version, (since_ms, until_ms), served, trained_ms)
    check = check_drift(observed, manifest, watch.thresholds)
    keep_check(connection, check, checked_at)
    return check
