"""The model as the stream uses it: load once, score one row at a time.

Runs inside the TaskManager's JVM: nothing but the standard library, numpy and orjson may be imported here,
because a C extension that takes the GIL by itself would deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.core.features import FEATURE_NAMES, NEUTRAL_VALUES, FeatureVector, model_input
from flink_jobs.core.forest_arrays import check_forest
from flink_jobs.core.forest_scorer import compile_score
from flink_jobs.core.model_artifact import model_directory, read_artifact
from flink_jobs.core.model_faults import ModelError, ModelFault
from flink_jobs.core.model_manifest import feature_hash, is_model_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flink_jobs.core.model_manifest import ModelManifest
    from flink_jobs.core.transaction import Transaction

__all__ = ["ForestModel", "ModelError", "ModelFault", "load_model", "model_directory"]


@dataclass(frozen=True, slots=True)
class ForestModel:
    """An isolation forest ready to score.

    Attributes:
        manifest: where it came from.
        score_row: row (features in the manifest's order) to anomaly score `s = 2^(-E[h] / c(n))` of Liu et al.
            (2008), in (0, 1]; towards 1 the row is anomalous, about 0.5 and below it is ordinary. Equals
            `-IsolationForest.score_samples` to 1e-12, float32 rounding of the inputs included. Pure and
            thread-safe; `ValueError` for NaN or a row of another length.
    """

    manifest: ModelManifest
    score_row: Callable[[tuple[float, ...]], float]

    @property
    def version(self) -> str:
        """Name of the model version."""
        return self.manifest.version

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays."""
        return self.manifest.arrays_sha256

    @property
    def kind(self) -> str:
        """Model family."""
        return self.manifest.kind

    @property
    def base(self) -> float:
        """Score of a transaction all of whose features are neutral."""
        return self.score_row(NEUTRAL_VALUES)

    def score(self, features: FeatureVector, transaction: Transaction) -> float:  # noqa: ARG002 - of other families
        """Return the anomaly score of a transaction, absent features at their neutral values."""
        return self.score_row(model_input(features))

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:  # noqa: ARG002
        """Return each feature's share of the score, from `base` on.

        Features take their values one after the other, in the table's order, and each is given what the score
        moved by. The shares add up exactly; the split between features that act together depends on that order.
        """
        row, before = list(NEUTRAL_VALUES), self.base
        shares = {}
        for index, (name, value) in enumerate(zip(FEATURE_NAMES, model_input(features), strict=True)):
            row[index] = value
            after = self.score_row(tuple(row))
            shares[name] = after - before
            before = after
        return shares


def load_model(directory: Path, expected_features: tuple[str, ...]) -> ForestModel:
    """Load one model version; takes well under a second for 100 trees.

    Args:
        directory: `<model_dir>/<version>`, see `model_directory`.
        expected_features: the features this program computes, in order.

    Raises:
        ModelError: whatever is wrong with it; no other exception. The caller then scores by rules alone.
    """
    if not is_model_version(directory.name):
        raise ModelError(ModelFault.MISSING, f"{directory.name!r} is not a model version")
    manifest, arrays = read_artifact(directory)
    if manifest.version != directory.name:
        detail = f"{directory} holds model {manifest.version!r}; a version's directory carries its name"
        raise ModelError(ModelFault.BAD_MANIFEST, detail)
    if manifest.feature_names != expected_features or manifest.feature_hash != feature_hash(expected_features):
        detail = (
            f"model {manifest.version!r} was trained on {', '.join(manifest.feature_names)}; this program computes "
            f"{', '.join(expected_features)}; train again"
        )
        raise ModelError(ModelFault.FEATURE_MISMATCH, detail)
    check_forest(arrays, len(expected_features))
    return ForestModel(manifest, compile_score(arrays, len(expected_features)))
