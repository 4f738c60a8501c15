"""A model that takes the own features of the example module, for the tests that serve one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import read_sources
from flink_jobs.core.own_features.values import OwnValues
from ml.artifact_writer import write_artifact
from ml.dataset import Dataset, build_dataset
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.train import Provenance, TrainedModel, train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.synthetic import NOW_MS, events

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.cards.card_files import SourceEvent

(SOURCE,) = read_sources([EXAMPLE], FOLDER)
BOOSTING = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, own_features=True, label_delay_days=0.0
)
PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))


class Trained(NamedTuple):
    """A model with own features, and the history that it was trained on."""

    folder: Path
    model: TrainedModel
    events: list[SourceEvent]
    rows: Dataset

    @property
    def version(self) -> str:
        return self.model.manifest.version

    def scores(self) -> dict[str, float]:
        """Return the score of each transaction by the replay."""
        names = OwnValues(load_features([SOURCE])).features.names
        model = build_model(self.model.manifest, self.model.arrays, (*OFFLINE_FEATURES, *names))
        return dict(zip(self.rows.transaction_ids, score_rows(model, self.rows).tolist(), strict=True))


def train_example(folder: Path) -> Trained:
    """Train the model and write it into a model folder."""
    history = events(500)
    rows = build_dataset(history, NOW_MS, own=OwnValues(load_features([SOURCE])))
    model = train_model(rows, BOOSTING, PROVENANCE)
    write_artifact(folder, model.manifest, model.arrays)
    return Trained(folder, model, history, rows)
