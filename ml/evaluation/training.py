"""Trains what an evaluation without given models compares: the forest, and where labels allow it the challenger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flink_jobs.core.model import build_model
from ml.parameters import TrainingParameters
from ml.train import train_forest

if TYPE_CHECKING:
    from flink_jobs.core.model import TreeModel
    from ml.dataset import Dataset
    from ml.train import Provenance

FOREST: Final = "forest"
CHALLENGER: Final = "challenger"


def train_contenders(
    dataset: Dataset,
    train_fraction: float,
    label_delay_days: float,
    alerts_per_day: int,
    seed: int,
    provenance: Provenance,
) -> dict[str, TreeModel]:
    """Train on the earlier part, publish nothing.

    Raises:
        UserError: too few rows.
        ModelError: what was trained cannot be served.
    """
    parameters = TrainingParameters(seed=seed, train_fraction=train_fraction)
    forest = train_forest(dataset, parameters, provenance)
    return {FOREST: build_model(forest.manifest, forest.arrays)}
