"""From a data set to a judgement: the split, the models, their scores, the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.errors import UserError
from ml.dataset import split_by_time
from ml.evaluation.contenders import RULES_ALONE, blended, judged_rows
from ml.evaluation.document import EvaluationDocument
from ml.evaluation.evaluation import JudgingOptions, judge
from ml.model_scores import score_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset
    from ml.train import Provenance

BLEND: Final = "rules + {name}"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """What to judge, and how.

    Attributes:
        models: name to model; the first one's blend is the baseline.
        config: rules, blend and blacklist, the same as the data set was built under.
        train_fraction: share of the rows that is not judged.
        options: see there.
        trained_here: whether the models were trained on the earlier part.
        label_delay_days: see `EvaluationDocument`.
    """

    models: Mapping[str, TreeModel]
    config: DetectionConfig
    train_fraction: float
    options: JudgingOptions
    trained_here: bool
    label_delay_days: float


def evaluate(dataset: Dataset, judged: Judged, provenance: Provenance, progress: Progress) -> EvaluationDocument:
    """Judge rules, every model, and every blend on the later part of a data set.

    Args:
        dataset: all of history.
        judged: see there.
        provenance: of the data set.
        progress: told the contender, the resamples done and all of them.

    Raises:
        UserError: the later part has no rows, or only one kind of label.
    """
    _, late = split_by_time(dataset, judged.train_fraction)
    if not len(late):
        raise UserError("nothing is left to judge on", "choose a smaller --train-fraction")
    later = dataset.event_time_ms >= late.event_time_ms.min()
    scores: dict[str, NDArray[np.float64]] = {RULES_ALONE: late.rule_score}
    manifests = {}
    for name, model in judged.models.items():
        scores[name] = score_rows(model, late)
        scores[BLEND.format(name=name)] = blended(scores[name], late.rule_score, judged.config.alpha)
        manifests[name] = model.manifest
    baseline = list(scores)[min(2, len(scores) - 1)]
    rows = judged_rows(dataset, later, scores, baseline)
    return EvaluationDocument(
        created_at=provenance.created_at.isoformat(timespec="seconds"),
        code_version=provenance.code_version,
        source=provenance.source,
        source_sha256=provenance.source_sha256,
        trained_here=judged.trained_here,
        label_delay_days=judged.label_delay_days,
        config=judged.config,
        models=manifests,
        evaluation=judge(rows, judged.options, progress),
    )
