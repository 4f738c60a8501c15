"""Manifests and judged rows for the tests of the evaluation."""

from __future__ import annotations

import numpy as np

from flink_jobs.core.models.manifest import ModelManifest, TrainingData, feature_hash
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.segments import grouping_of

DAY_MS = 86_400_000


def manifest_of(version: str, *, last_event_time_ms: int = 0) -> ModelManifest:
    """Return the manifest of a model that was never trained."""
    names = ("amount_zscore", "geo_speed_kmh")
    return ModelManifest(
        version=version,
        created_at="2026-01-01T00:00:00+00:00",
        feature_names=names,
        feature_hash=feature_hash(names),
        arrays_sha256="ab" * 32,
        training_data=TrainingData(
            "cards.csv", "cd" * 32, "ef" * 32, 1_000, last_event_time_ms - DAY_MS, last_event_time_ms, 900
        ),
        parameters={"seed": 7},
        metrics={},
        score_quantiles={},
        feature_quantiles={},
        neutral_values={},
        code_version="1.0",
    )


def judged(rows: int = 3_000, seed: int = 0) -> JudgedRows:
    """Return rows that ``good`` separates well, ``fair`` partly and ``blind`` not at all; frauds are on bad days."""
    rng = np.random.default_rng(seed)
    customers = rng.integers(0, 60, rows)
    days = np.sort(rng.integers(0, 20, rows))
    bad = rng.random((60, 20)) < 0.05
    fraud = bad[customers, days] & (rng.random(rows) < 0.8)
    fraud[:2] = True, False
    noise = rng.random(rows)
    return JudgedRows(
        event_time_ms=days * DAY_MS + 1,
        customers=customers,
        customer_count=60,
        fraud=fraud,
        scenarios=np.where(fraud, np.where(noise < 0.5, "burst", ""), ""),
        scores={"fair": 0.3 * fraud + 0.7 * noise, "good": 0.7 * fraud + 0.3 * noise, "blind": noise},
        baseline="fair",
        rule_hits={"high_amount": noise > 0.9, "velocity": fraud},
        groupings=(grouping_of("category", np.where(customers % 2 == 0, "food & <drink>", "tra|vel")),),
        unlabelled=5,
    )
