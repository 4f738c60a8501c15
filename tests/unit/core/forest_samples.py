"""A hand-made forest and its artifact, for tests without scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flink_jobs.core.models.manifest import ARRAYS_FILE, MANIFEST_FILE, ModelManifest, TrainingData, feature_hash
from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, ForestArrays, TreeArrays, arrays_digest

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = ("amount_zscore", "velocity_count")
VERSION = "v1"


def forest(**changes: object) -> ForestArrays:
    """Return two trees over two features, grown on 8 rows; ``changes`` replaces whole arrays.

    Tree 0: velocity_count <= 3 ? (amount_zscore <= 1.5 ? 5 rows : 2 rows) : 1 row. Tree 1: one leaf of 8 rows.
    """
    values: dict[str, Any] = {
        "tree_offsets": [0, 5, 6],
        "feature": [1, 0, -1, -1, -1, -1],
        "threshold": [3.0, 1.5, 0.0, 0.0, 0.0, 0.0],
        "left": [1, 2, -1, -1, -1, -1],
        "right": [4, 3, -1, -1, -1, -1],
        "n_samples": [8, 7, 5, 2, 1, 8],
        "max_samples": [8],
    } | changes
    arrays: dict[str, Any] = {name: np.asarray(value, dtype=ARRAY_DTYPES[name]) for name, value in values.items()}
    return ForestArrays(**arrays)


def manifest(arrays: TreeArrays, **changes: Any) -> ModelManifest:  # noqa: ANN401 - any field of the manifest
    """Return a manifest for ``arrays``, with ``changes``."""
    return replace(
        ModelManifest(
            version=VERSION,
            created_at="2026-01-01T00:00:00+00:00",
            feature_names=FEATURES,
            feature_hash=feature_hash(FEATURES),
            arrays_sha256=arrays_digest(arrays.named()),
            training_data=TrainingData("hand-made", None, "0" * 64, 8, 1, 2),
            parameters={"seed": 7},
            metrics={"rows": 8.0},
            score_quantiles={"0.5": 0.4},
            feature_quantiles={name: {"0.5": 0.0} for name in FEATURES},
            neutral_values=dict.fromkeys(FEATURES, 0.0),
            code_version="test",
        ),
        **changes,
    )


def write(model_dir: Path, arrays: TreeArrays | None = None, content: ModelManifest | None = None) -> Path:
    """Write an artifact without the checks of the writer; return its directory."""
    arrays = forest() if arrays is None else arrays
    directory = model_dir / VERSION
    directory.mkdir(parents=True)
    np.savez(directory / ARRAYS_FILE, **arrays.named())
    (directory / MANIFEST_FILE).write_bytes((content or manifest(arrays)).to_json())
    return directory
