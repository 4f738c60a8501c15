"""Runs an evaluation: splits the data set, scores the later part with every contender and judges the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.scoring import blend_in_force
from flink_jobs.errors import UserError
from ml.blending import blend_rows
from ml.calibrating import probabilities
from ml.dataset import UNKNOWN
from ml.evaluation.card_precision import days_of
from ml.evaluation.contenders import RULES_ALONE, judged_rows
from ml.evaluation.document import EvaluationDocument, JudgedBlend
from ml.evaluation.evaluation import JudgingOptions, judge, probability_error
from ml.evaluation.importance import input_importance
from ml.evaluation.over_time import periods_of
from ml.measures import alerting
from ml.model_scores import score_rows
from ml.splitting import split_by_time
from ml.stress.stress_test import stress_test
from ml.threshold_table import check_currency, threshold_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset
    from ml.evaluation.governance import Governance
    from ml.evaluation.protocol import Protocol
    from ml.sanity.finding import Finding
    from ml.train import Provenance

BLEND: Final = "rules + {name}"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """Contenders and options of an evaluation.

    Attributes:
        models: by name, the models; the blend of the first model is the baseline.
        config: rules, blend and blacklist; the data set was built with the same configuration.
        train_fraction: share of the rows, earliest first, that is not judged.
        options: see ``JudgingOptions``.
        trained_here: whether the models were trained on the earlier part.
        label_delay_days: see ``EvaluationDocument``.
        data_warnings: see ``EvaluationDocument``.
        protocol: the protocol that chose ``later``, for the report.
        governance: facts for the model cards.
        review_cost: price of a review, main currency units; None: no costs in the tables of thresholds.
        later: true for the rows to judge; None: the rows after ``train_fraction``.
    """

    models: Mapping[str, TreeModel]
    config: DetectionConfig
    train_fraction: float
    options: JudgingOptions
    trained_here: bool
    label_delay_days: float
    data_warnings: tuple[Finding, ...] = ()
    protocol: Protocol | None = None
    governance: Governance | None = None
    review_cost: float | None = None
    later: NDArray[np.bool_] | None = None


def evaluate(dataset: Dataset, judged: Judged, provenance: Provenance, progress: Progress) -> EvaluationDocument:
    """Judge the rules, every model and every blend on the later part of a data set.

    Args:
        dataset: the whole history.
        judged: see ``Judged``.
        provenance: source of the data set.
        progress: called with the contender, the number of finished resamples and their total number.

    Raises:
        UserError: the later part has no rows, or all its labels are fraud or all are genuine, or there is a price of a
            review and the rows have several currencies.
    """
    later = _later(dataset, judged.train_fraction) if judged.later is None else judged.later
    late = dataset.where(later)
    if judged.review_cost is not None:
        check_currency(late)
    scores: dict[str, NDArray[np.float64]] = {RULES_ALONE: late.rule_score}
    manifests, blends, chances = {}, {}, {}
    for name, model in judged.models.items():
        scores[name] = score_rows(model, late)
        blend, threshold = blend_rows(late, scores[name], judged.config, model.own_blend)
        scores[BLEND.format(name=name)] = blend
        manifests[name], blends[name] = model.manifest, _judged_blend(late, blend, threshold, model, judged)
        chances[name] = probabilities(late, blend, model, judged.config)
    baseline = list(scores)[min(2, len(scores) - 1)]
    rows = judged_rows(dataset, later, scores, baseline)
    labelled = late.labels != UNKNOWN
    for name, chance in chances.items():
        if chance is not None:
            error = probability_error(rows, chance[labelled], judged.options)
            blends[name] = replace(blends[name], probability=error)
    stressed = stress_test(
        dataset, later, judged.models, judged.config, delay_days=ceil(judged.label_delay_days), seed=judged.options.seed
    )
    blends = {name: replace(blend, stress=stressed[name]) for name, blend in blends.items()}
    return EvaluationDocument(
        created_at=provenance.created_at.isoformat(timespec="seconds"),
        code_version=provenance.code_version,
        source=provenance.source,
        source_sha256=provenance.source_sha256,
        trained_here=judged.trained_here,
        label_delay_days=judged.label_delay_days,
        data_warnings=judged.data_warnings,
        protocol=None if judged.protocol is None else str(judged.protocol),
        config=judged.config,
        models=manifests,
        blends=blends,
        governance=judged.governance,
        evaluation=judge(rows, judged.options, progress),
    )


def _judged_blend(
    late: Dataset, blend: NDArray[np.float64], threshold: float, model: TreeModel, judged: Judged
) -> JudgedBlend:
    measured = alerting(blend, late.labels, threshold)
    days = len(np.unique(days_of(late.event_time_ms)))
    return JudgedBlend(
        blend_in_force(judged.config, model.own_blend),
        float((blend >= threshold).sum() / days),
        measured.get("alert_precision"),
        measured.get("alert_recall"),
        threshold_table(late, blend, threshold, judged.review_cost),
        periods_of(late, blend, threshold),
        input_importance(model, late, judged.options.seed),
    )


def _later(dataset: Dataset, train_fraction: float) -> NDArray[np.bool_]:
    _, late = split_by_time(dataset, train_fraction)
    if not len(late):
        raise UserError("no rows are left to judge", "choose a smaller --train-fraction")
    later: NDArray[np.bool_] = dataset.event_time_ms >= late.event_time_ms.min()
    return later
