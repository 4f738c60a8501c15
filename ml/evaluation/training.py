"""Trains the models of an evaluation that was given none: a forest, and boosted trees where labels allow it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.model import build_model
from ml.dataset import FRAUD, GENUINE
from ml.parameters import ModelFamily
from ml.train import train_model, training_parts

if TYPE_CHECKING:
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters
    from ml.train import Provenance

NAMES: Final = {ModelFamily.ISOLATION_FOREST: "forest", ModelFamily.GRADIENT_BOOSTING: "challenger"}


def train_contenders(dataset: Dataset, parameters: TrainingParameters, provenance: Provenance) -> dict[str, TreeModel]:
    """Train one model of each family on the earlier part, without publishing them.

    Args:
        dataset: the whole history.
        parameters: parameters of both families; ``kind`` is ignored.
        provenance: source of the data set.

    Returns:
        ``forest``, and ``challenger`` (boosted trees) if frauds and genuine transactions were labelled before the
        split.

    Raises:
        UserError: too few rows.
        ModelError: a trained model cannot be served.
    """
    early, _ = training_parts(dataset, parameters, provenance.source)
    kinds = [ModelFamily.ISOLATION_FOREST]
    if np.isin([FRAUD, GENUINE], early.labels).all():
        kinds.append(ModelFamily.GRADIENT_BOOSTING)
    models = {}
    for kind in kinds:
        trained = train_model(dataset, replace(parameters, kind=kind.value), provenance)
        models[NAMES[kind]] = build_model(trained.manifest, trained.arrays)
    return models
