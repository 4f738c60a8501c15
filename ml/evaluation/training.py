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
    from flink_jobs.core.features.entity_risk import Entity
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters
    from ml.train import Provenance

FOREST: Final = "forest"
CHALLENGER: Final = "challenger"
"""Name of the boosted trees."""
OWN: Final = "own"
"""Name of the boosted trees with own features, and with the inputs of all entities of the data set."""


def train_contenders(dataset: Dataset, parameters: TrainingParameters, provenance: Provenance) -> dict[str, TreeModel]:
    """Train one model of each family on the earlier part, without publishing them.

    Args:
        dataset: the whole history.
        parameters: parameters of both families; ``kind``, ``risk_entities`` and ``own_features`` are ignored.
        provenance: source of the data set.

    Returns:
        ``forest``, and ``challenger`` (boosted trees) if frauds and genuine transactions were labelled before the
        split; with the inputs of entities in the data set, also one model for each entity under its name (``merchant``,
        ``terminal``, ...), and, for more than one, one with the inputs of all of them (``merchant-terminal``); with own
        features, also ``own``.

    Raises:
        UserError: too few rows.
        ModelError: a trained model cannot be served.
    """
    early, _ = training_parts(dataset, parameters, provenance.source)
    contenders = {FOREST: replace(parameters, kind=ModelFamily.ISOLATION_FOREST.value, risk_entities=())}
    if np.isin([FRAUD, GENUINE], early.labels).all():
        boosting = replace(parameters, kind=ModelFamily.GRADIENT_BOOSTING.value, risk_entities=(), own_features=False)
        contenders[CHALLENGER] = boosting
        entities = () if dataset.risk is None else dataset.risk.entities
        for chosen_entities in _choices(entities):
            contenders["-".join(chosen_entities)] = replace(boosting, risk_entities=chosen_entities)
        if dataset.own is not None:
            contenders[OWN] = replace(boosting, own_features=True, risk_entities=entities)
    models, known = {}, (*OFFLINE_FEATURES, *own_names(dataset.own))
    for name, chosen in contenders.items():
        trained = train_model(dataset, chosen, provenance)
        models[name] = build_model(trained.manifest, trained.arrays, known)
    return models


def _choices(entities: tuple[Entity, ...]) -> list[tuple[Entity, ...]]:
    """Return each entity alone, and all of them together if there are several."""
    alone: list[tuple[Entity, ...]] = [(entity,) for entity in entities]
    return [*alone, entities] if len(entities) > 1 else alone
