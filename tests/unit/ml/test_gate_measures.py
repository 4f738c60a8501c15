"""The gate scores the rows of a data set as a stream would score its transactions, histories and own features too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.replay import replay_features
from flink_jobs.core.rules import FraudRuleEvaluator
from flink_jobs.core.scoring import Blender
from ml.dataset import FRAUD, UNKNOWN, Feed, build_dataset
from ml.entity_risk import RiskReplay, with_risk
from ml.gate import Measured
from ml.gate_measures import Contender, measure_together
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids, push

PARAMETERS = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, risk_entities=tuple(Entity), own_features=True
)


def test_the_gate_measures_what_the_stream_would_score() -> None:
    events = list(events_with_ids(generate(World(40, 60, 45, 3))))
    own = OwnValues(load_features(read_sources([EXAMPLE], FOLDER)))
    whole = with_risk(build_dataset(iter(events), NOW_MS, own=own), tuple(Entity))
    trained = train_model(whole, PARAMETERS, Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC)))
    cut_ms = trained.manifest.training_data.last_event_time_ms
    histories, config = RiskReplay(tuple(Entity)), DetectionConfig()
    model = build_model(trained.manifest, trained.arrays, OFFLINE_FEATURES, histories, own)
    unlabelled = whole.event_time_ms > int(whole.event_time_ms[-1]) - 86_400_000
    rows = replace(whole, labels=np.where(unlabelled, UNKNOWN, whole.labels).astype(np.int8))
    measured = measure_together(rows, [Contender(model, cut_ms), Contender(model, cut_ms - 1)], config)

    truth, scores, alerts = [], [], 0
    rules, blender, feed = FraudRuleEvaluator(config.rules), Blender(config), Feed(iter(events), NOW_MS)
    for number, (transaction, features) in enumerate(replay_features(feed, config, own=own)):
        if transaction.event_time_ms > cut_ms and not unlabelled[number]:
            one = model.score(features, transaction)
            score, threshold = blender.score(rules.evaluate(features), one, model.own_blend)
            truth.append(feed.label == FRAUD)
            scores.append(score.score)
            alerts += score.score >= threshold
        push(histories, transaction, is_fraud=feed.label == FRAUD)
    assert (
        measured
        == [
            Measured(
                float(roc_auc_score(truth, scores)),
                float(average_precision_score(truth, scores)),
                alerts / len(truth),
                len(truth),
                sum(truth),
            )
        ]
        * 2
    )
    assert len(truth) > 300
    assert sum(truth) > 10
