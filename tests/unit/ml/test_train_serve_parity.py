"""Training and serving give equal features and scores: one file goes through the training replay and the evaluator."""

from __future__ import annotations

import gzip
import itertools
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pytest

from flink_jobs.cards.card_files import SourceEvent, mapping_for, read_events
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.models.model import load_model
from flink_jobs.core.parsing.source_record import SourceRecord
from ml.artifact_writer import write_artifact
from ml.dataset import build_dataset
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.train import Provenance, train_model
from tests.unit.ml.synthetic import NOW_MS, events

CARDS = Path("tests/data/card_transactions.csv.gz")
CARD_ROWS = 6_000


def from_file() -> list[SourceEvent]:
    path = Path(__file__).parents[3] / CARDS
    with gzip.open(path) as file:
        assert file.readline()
    return list(itertools.islice(read_events(path, mapping_for(path, None)), CARD_ROWS))


SOURCES = {"synthetic": lambda: events(3_000), "card file": from_file}


def serve(given: list[SourceEvent], evaluator: TransactionEvaluator) -> list[dict[str, object]]:
    """Run events through the stream's step as the job does, and return the decisions."""
    states: dict[str, bytes] = {}
    decisions = []
    for offset, event in enumerate(given):
        key = event.transaction["customer_id"]
        record = SourceRecord(orjson.dumps(event.transaction), 0, offset, "", "", key, "streamflow.transactions")
        outcome = evaluator.evaluate(record, partial(states.get, key), NOW_MS)
        if outcome.state is not None:
            states[outcome.customer_id] = outcome.state
        if outcome.decision is not None:
            decisions.append(orjson.loads(outcome.decision))
    return decisions


@pytest.mark.parametrize(("source", "kind"), [("synthetic", "isolation_forest"), ("card file", "gradient_boosting")])
def test_features_and_scores_are_the_same_bit_for_bit(source: str, kind: str, tmp_path: Path) -> None:
    given = SOURCES[source]()
    trained_on = build_dataset(given, NOW_MS)
    provenance = Provenance(source, None, "test", datetime(2026, 1, 1, tzinfo=UTC))
    parameters = TrainingParameters(kind=ModelFamily(kind).value, n_estimators=25, label_delay_days=0.0)
    trained = train_model(trained_on, parameters, provenance)
    model = load_model(write_artifact(tmp_path, trained.manifest, trained.arrays), FEATURE_NAMES)

    decisions = serve(given, TransactionEvaluator(model=model))
    assert len(decisions) == len(trained_on) > CARD_ROWS / 3
    served = np.array(
        [
            [
                neutral if decision["features"][name] is None else decision["features"][name]  # type: ignore[index]
                for name, neutral in zip(FEATURE_NAMES, NEUTRAL_VALUES, strict=True)
            ]
            for decision in decisions
        ]
    )
    assert served.tobytes() == trained_on.inputs.tobytes()
    assert [decision["ml_score"] for decision in decisions] == score_rows(model, trained_on).tolist()
    assert {decision["model_version"] for decision in decisions} == {trained.manifest.version}
