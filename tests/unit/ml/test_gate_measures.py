"""The gate replays histories and own features: it scores each row as the evaluation of a data set does."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import read_sources
from flink_jobs.core.own_features.values import OwnValues
from ml.blending import blend_rows
from ml.dataset import build_dataset
from ml.entity_risk import RiskReplay, with_risk
from ml.gate_measures import Contender, measure_together
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

PARAMETERS = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, risk_entities=tuple(Entity), own_features=True
)


def test_the_gate_measures_what_an_evaluation_measures() -> None:
    events = list(events_with_ids(generate(World(40, 60, 45, 3))))
    own = OwnValues(load_features(read_sources([EXAMPLE], FOLDER)))
    whole = with_risk(build_dataset(iter(events), NOW_MS, own=own), tuple(Entity))
    trained = train_model(whole, PARAMETERS, Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC)))
    cut_ms = trained.manifest.training_data.last_event_time_ms
    histories = RiskReplay(tuple(Entity))
    model = build_model(trained.manifest, trained.arrays, OFFLINE_FEATURES, histories, own)
    pair = [Contender(model, cut_ms), Contender(model, cut_ms)]
    measured = measure_together(iter(events), pair, DetectionConfig(), NOW_MS, histories, own)
    assert measured == measure_together(iter(events), pair, DetectionConfig(), NOW_MS, histories, own), "a new replay"

    late = whole.where(whole.event_time_ms > cut_ms)
    blend, threshold = blend_rows(late, score_rows(model, late), DetectionConfig(), model.own_blend)
    assert measured[0].rows == len(late) > 300
    assert measured[0].average_precision == average_precision_score(late.labels == 1, blend)
    assert measured[0].alert_rate == pytest.approx(np.mean(blend >= threshold))
    assert histories.inputs(Entity.TERMINAL, next(late.transactions()))[0] is not None
