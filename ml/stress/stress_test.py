"""Scores a sample of the judged rows under every scenario."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import ENTITY_OF
from flink_jobs.core.own_features.declaration import is_own
from ml.blending import blend_rows
from ml.dataset import DAY_MS
from ml.model_scores import score_rows
from ml.own_columns import own_names
from ml.splitting import split_by_time
from ml.stress.changed_rows import ChangedRows
from ml.stress.result import JudgedSample, StressResult, StressTest, measure
from ml.stress.sample import choose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters
    from ml.stress.scenarios import Scenario

OTHER_HISTORIES: Final = "a replay of the rows gives other histories of the entities than the model was judged with"
OWN_FEATURES: Final = (
    "a replay of the rows cannot give {names}: the rows hold no location, channel, country or address, or recorded "
    "other values"
)
NO_LABELS: Final = "no input of the model depends on labels"


def stress_test(
    dataset: Dataset,
    judged: NDArray[np.bool_],
    models: Mapping[str, TreeModel],
    config: DetectionConfig,
    *,
    delay_days: int,
    seed: int,
) -> dict[str, StressTest]:
    """Return the scenarios of every model; the same arguments give the same numbers.

    Args:
        dataset: the whole history, with the inputs of the models.
        judged: true for the judged rows, at least one.
        models: by name, the models.
        config: rules and blend that are judged; the data set was built with them.
        delay_days: days until a label is known, for the inputs of entities.
        seed: seed of the sample and of the scenarios.
    """
    sample = choose(dataset, judged, seed)
    rows = np.flatnonzero(sample.judged)
    codes = dataset.customer.codes[rows]
    days = len(np.unique(dataset.event_time_ms[judged] // DAY_MS))
    about = JudgedSample(dataset.labels[rows], sample.weights[codes], days)
    usual = dataset.where(rows)
    blends = {
        name: blend_rows(usual, score_rows(model, usual), config, model.own_blend) for name, model in models.items()
    }
    found: dict[str, list[StressResult]] = {name: [] for name in models}
    for scenario, changed in ChangedRows(dataset, sample, config, delay_days).all(seed):
        for name, model in models.items():
            reason = changed if isinstance(changed, str) else _reason(scenario, model, changed)
            if isinstance(changed, str) or reason is not None:
                found[name].append(StressResult(scenario.name, not_computed=reason))
                continue
            if not scenario.has_model:
                blend, threshold = changed.rule_score, config.alert_threshold
            elif scenario.is_change or scenario.later_labels:
                blend, threshold = blend_rows(changed, score_rows(model, changed), config, model.own_blend)
            else:
                blend, threshold = blends[name]
            found[name].append(measure(scenario.name, about, blend, threshold, blends[name][0]))
    customers = len(np.unique(codes))
    return {name: StressTest(len(rows), customers, seed, tuple(results)) for name, results in found.items()}


def stress_after_training(dataset: Dataset, model: TreeModel, parameters: TrainingParameters) -> StressTest | None:
    """Return the scenarios of a model on the rows later than its training part; None if there are no such rows.

    The numbers are those of an evaluation of the model on the same rows with the same seed.

    Args:
        dataset: the rows that trained the model, and later ones, built with the rules that a job starts with.
        model: the model.
        parameters: parameters of the training.
    """
    _, late = split_by_time(dataset, parameters.train_fraction)
    if not len(late):
        return None
    judged: NDArray[np.bool_] = dataset.event_time_ms >= late.event_time_ms.min()
    delay_days, name = ceil(parameters.label_delay_days), model.version
    found = stress_test(dataset, judged, {name: model}, DetectionConfig(), delay_days=delay_days, seed=parameters.seed)
    return found[name]


def _reason(scenario: Scenario, model: TreeModel, rows: Dataset) -> str | None:
    """Return why a scenario cannot be computed for a model; None where it can."""
    names = model.manifest.feature_names
    entities = {ENTITY_OF[name] for name in names if name in ENTITY_OF}
    if scenario.later_labels and not entities:
        return NO_LABELS
    missed = sorted({name for name in names if is_own(name)} - set(own_names(rows.own)))
    if scenario.is_change and missed:
        return OWN_FEATURES.format(names=" and ".join(missed))
    if entities and (rows.risk is None or not entities <= set(rows.risk.entities)):
        return OTHER_HISTORIES
    return None
