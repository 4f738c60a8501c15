"""Records, models and operators for the tests of the job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.manifest import feature_hash
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.detector.operator_settings import DetectorSettings
from tests.strategies import NOW_MS, TOPIC
from tests.unit.core import forest_samples
from tests.unit.job.fake_runtime import Operator, Runtime

CONTROL_TOPIC = "streamflow.control"
ACTIONS_TOPIC = "streamflow.user-actions"
SENT_AT = "2025-12-31 23:59:59.880"
"""Kafka's timestamp of every record here: 120 ms before the clock."""


def transaction(name: str = "t-1", customer: str = "c-1", **fields: object) -> dict[str, Any]:
    return {
        "transaction_id": name,
        "customer_id": customer,
        "amount_minor": 1200,
        "currency": "USD",
        "event_time_ms": NOW_MS - 1000,
        **fields,
    }


def record(payload: dict[str, Any] | bytes | None, key: str | None = None, offset: int = 7) -> SourceRecord:
    """Return a record of the transactions topic, routed as the source does it."""
    if key is None:
        key = payload["customer_id"] if isinstance(payload, dict) else f"unroutable-{offset}"
    raw = orjson.dumps(payload) if isinstance(payload, dict) else payload
    return SourceRecord(raw, 2, offset, SENT_AT, "", key, TOPIC)


def control(
    changes: dict[str, Any] | None, control_id: str = "ctl-1", offset: int = 0, **fields: object
) -> SourceRecord:
    """Return a record of the control topic."""
    message = {
        "schema_version": 1,
        "control_id": control_id,
        "issued_by": "tester",
        "issued_at_ms": NOW_MS,
        "reason": "test",
        "expected_revision": None,
        "changes": changes,
        **fields,
    }
    return SourceRecord(orjson.dumps(message), 0, offset, SENT_AT, "", "", CONTROL_TOPIC)


def write_model(model_dir: Path, version: str, features: tuple[str, ...] = FEATURE_NAMES, **changes: object) -> Path:
    """Write a small model that can be served; `changes` replaces arrays of its forest."""
    arrays = forest_samples.forest(**changes)
    manifest = replace(
        forest_samples.manifest(arrays),
        version=version,
        feature_names=features,
        feature_hash=feature_hash(features),
        neutral_values=dict.fromkeys(features, 0.0),
        feature_quantiles={name: {"0.5": 0.0} for name in features},
    )
    staged = forest_samples.write(model_dir / "staging", arrays, manifest)
    return staged.rename(model_dir / version)


def settings(
    model_dir: Path | str = "/nowhere",
    model_version: str | None = None,
    mode: str = "thread",
    *,
    are_alerts_at_once: bool = True,
) -> DetectorSettings:
    return DetectorSettings(
        replies_topic="streamflow.replies",
        reply_routes=("a", "b"),
        are_alerts_at_once=are_alerts_at_once,
        transactions_topic=TOPIC,
        control_topic=CONTROL_TOPIC,
        actions_topic=ACTIONS_TOPIC,
        model_dir=str(model_dir),
        model_version=model_version,
        execution_mode=mode,
        state_ttl_days=30,
        state_cache_customers=2,
        model_budget_ms=5,
    )


def detector(
    model_dir: Path | str = "/nowhere", model_version: str | None = None, runtime: Runtime | None = None
) -> Operator:
    """Return an open detector."""
    return Operator(FraudDetectorFunction(settings(model_dir, model_version)), runtime)
