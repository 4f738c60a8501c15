"""Trains the models of an evaluation that was given none: a forest, and boosted trees where labels allow it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from ml.dataset import FRAUD, GENUINE
from ml.own_columns import own_names
from ml.parameters import ModelFamily
from ml.train import train_model, training_parts

if TYPE_CHECKING:
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters
    from ml.train import Provenance

FOREST: Final = "forest"
CHALLENGER: Final = "challenger"
"""Name of the boosted trees."""
MERCHANT: Final = "merchant"
"""Name of the boosted trees with the inputs of merchants."""
OWN: Final = "own"
"""Name of the boosted trees with own features, and with the inputs of merchants if the data set has them."""


def train_contenders(dataset: Dataset, parameters: TrainingParameters, provenance: Provenance) -> dict[str, TreeModel]:
    """Train one model of each family on the earlier part, without publishing them.

    Args:
        dataset: the whole history.
        parameters: parameters of both families; ``kind``, ``merchant_risk`` and ``own_features`` are ignored.
        provenance: source of the data set.

    Returns:
        ``forest``, and ``challenger`` (boosted trees) if frauds and genuine transactions were labelled before the
        split; with the inputs of merchants in the data set, also ``merchant``; with own features, also ``own``.

    Raises:
        UserError: too few rows.
        ModelError: a trained model cannot be served.
    """
    early, _ = training_parts(dataset, parameters, provenance.source)
    contenders = {FOREST: replace(parameters, kind=ModelFamily.ISOLATION_FOREST.value, merchant_risk=False)}
    if np.isin([FRAUD, GENUINE], early.labels).all():
        boosting = replace(
            parameters, kind=ModelFamily.GRADIENT_BOOSTING.value, merchant_risk=False, own_features=False
        )
        contenders[CHALLENGER] = boosting
        if dataset.merchant_risk is not None:
            contenders[MERCHANT] = replace(boosting, merchant_risk=True)
        if dataset.own is not None:
            contenders[OWN] = replace(boosting, own_features=True, merchant_risk=dataset.merchant_risk is not None)
    models, known = {}, (*OFFLINE_FEATURES, *own_names(dataset.own))
    for name, chosen in contenders.items():
        trained = train_model(dataset, chosen, provenance)
        models[name] = build_model(trained.manifest, trained.arrays, known)
    return models
