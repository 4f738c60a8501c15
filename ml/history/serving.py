"""Reads the decisions of a model for drift checks, and stores the checks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from flink_jobs.core.documents import Finding
from flink_jobs.errors import UserError
from ml.drift.check import Observed
from ml.history.decisions import ROWS_AT_ONCE

if TYPE_CHECKING:
    from ml.drift.check import DriftCheck
    from ml.history.connection import Connection

_MODEL: Final = """
    SELECT model_version, event_time_ms FROM raw.decisions
    WHERE model_version IS NOT NULL AND (%(version)s::text IS NULL OR model_version = %(version)s)
        AND (%(until_ms)s::bigint IS NULL OR event_time < to_timestamp(%(until_ms)s / 1000.0))
    ORDER BY {newest} LIMIT 1"""
_BY_LOAD, _BY_EVENT = "loaded_at DESC, processing_time_ms DESC", "event_time DESC"
_NEWEST_EVENT: Final = """
    SELECT model_version, event_time_ms FROM raw.decisions
    WHERE model_version = %(version)s AND event_time <= now()
    ORDER BY event_time DESC LIMIT 1"""
_SERVED: Final = """
    SELECT decisions.features, decisions.ml_score, decisions.is_alert, labels.label
    FROM raw.decisions AS decisions
    LEFT JOIN raw.latest_labels AS labels ON decisions.is_alert
        AND labels.customer_id = decisions.customer_id AND labels.transaction_id = decisions.transaction_id
    WHERE decisions.model_version = %(version)s
        AND event_time >= to_timestamp(%(since_ms)s / 1000.0) AND event_time < to_timestamp(%(until_ms)s / 1000.0)"""
_SINCE: Final = """
    SELECT count(*) AS decisions FROM raw.decisions
    WHERE model_version = %(version)s AND event_time > to_timestamp(%(trained_ms)s / 1000.0)"""
_KEEP: Final = """
    INSERT INTO ops.model_drift (
        checked_at, model_version, subject, measure, value, watch_at, act_at, level, detail, rows_seen,
        window_from, window_until, verdict)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""


class Latest(NamedTuple):
    """A model and its newest event time."""

    model_version: str
    event_time_ms: int


def latest_decision(connection: Connection, version: str | None, until_ms: int | None) -> Latest:
    """Return the serving model and its newest event time; with a model or a time, those of that model or before it.

    The model that made the decision loaded last is serving, also while it scores a replayed history beside newer
    events of its predecessor. An event after the clock of the database (a card with a fast clock) is not the newest.

    Raises:
        UserError: there is no such decision.
    """
    order = _BY_LOAD if until_ms is None else _BY_EVENT
    row = connection.execute(_MODEL.format(newest=order), {"version": version, "until_ms": until_ms}).fetchone()
    if row is None:
        what = f"there is no recorded decision of {'model ' + version if version else 'a model'}"
        raise UserError(what, "wait until the archive job has written some, or choose another --model")
    if until_ms is None:
        row = connection.execute(_NEWEST_EVENT, {"version": row["model_version"]}).fetchone() or row
    return Latest(row["model_version"], row["event_time_ms"])


def read_observed(
    connection: Connection, version: str, window_ms: tuple[int, int], feature_names: tuple[str, ...], trained_ms: int
) -> Observed:
    """Return the decisions of a model in a window of event time.

    Args:
        connection: connection to the warehouse.
        version: model version.
        window_ms: start (inclusive) and end (exclusive) of the window, UTC milliseconds.
        feature_names: features to read; a feature that was not served is NaN in every row.
        trained_ms: event time of the model's last training row, UTC milliseconds.
    """
    since_ms, until_ms = window_ms
    blocks: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    alerts = fraud = genuine = 0
    with connection.cursor(name="served") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(_SERVED, {"version": version, "since_ms": since_ms, "until_ms": until_ms})
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            values = [[row["ml_score"], *(row["features"].get(name) for name in feature_names)] for row in rows]
            blocks.append(np.array(values, dtype=np.float64))  # None becomes NaN
            alerted = [row["label"] for row in rows if row["is_alert"]]
            alerts += len(alerted)
            fraud += alerted.count(Finding.FRAUD)
            genuine += alerted.count(Finding.GENUINE)
    table = np.concatenate(blocks) if blocks else np.empty((0, 1 + len(feature_names)))
    since = connection.execute(_SINCE, {"version": version, "trained_ms": trained_ms}).fetchone() or {"decisions": 0}
    return Observed(
        model_version=version,
        since_ms=since_ms,
        until_ms=until_ms,
        features={name: table[:, number] for number, name in enumerate(feature_names, start=1)},
        scores=table[:, 0],
        alerts=alerts,
        fraud_alerts=fraud,
        genuine_alerts=genuine,
        rows_since_training=int(since["decisions"]),
    )


def keep_check(connection: Connection, check: DriftCheck, checked_at: datetime) -> None:
    """Write a check to ``ops.model_drift``; the ``with`` block of the connection commits it at its end."""
    observed = check.observed
    window = [datetime.fromtimestamp(at / 1_000, UTC) for at in (observed.since_ms, observed.until_ms)]
    rows = [
        (
            checked_at, observed.model_version, one.subject, one.measure, one.value, one.watch_at, one.act_at,
            one.level.value, one.detail, observed.rows, *window, check.verdict.value,
        )
        for one in check.measures
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.executemany(_KEEP, rows)
