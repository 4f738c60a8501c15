"""Own features in the detector: scores equal the replay, faults are counted, and another version is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest

from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import FeatureSource, read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.job.detector.operator import FraudDetectorFunction
from ml.artifact_writer import write_artifact
from ml.dataset import Dataset, build_dataset
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.train import Provenance, TrainedModel, train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.job.fake_runtime import Operator, lines
from tests.unit.job.samples import control, record, settings, transaction
from tests.unit.ml.synthetic import NOW_MS, events

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.cards.card_files import SourceEvent

(SOURCE,) = read_sources([EXAMPLE], FOLDER)
BOOSTING = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, own_features=True, label_delay_days=0.0
)
PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
BROKEN = """
from flink_jobs.core.own_features import feature

@feature(unit="u", low=0, high=10, neutral=1, absent="never", meaning="m")
def broken(customer, transaction):
    return 1 / customer.transactions

@feature(unit="u", low=0, high=10, neutral=1, absent="never", meaning="m")
def wide(customer, transaction):
    return 11
"""


class Trained(NamedTuple):
    """A model with own features, and the history that it was trained on."""

    folder: Path
    model: TrainedModel
    events: list[SourceEvent]
    rows: Dataset

    @property
    def version(self) -> str:
        return self.model.manifest.version


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder, history = tmp_path_factory.mktemp("models"), events(500)
    rows = build_dataset(history, NOW_MS, own=OwnValues(load_features([SOURCE])))
    model = train_model(rows, BOOSTING, PROVENANCE)
    write_artifact(folder, model.manifest, model.arrays)
    return Trained(folder, model, history, rows)


def detector(*sources: FeatureSource, folder: Path | str = "/nowhere", version: str | None = None) -> Operator:
    chosen = replace(settings(folder, version), own_features=sources, model_budget_ms=10_000)
    return Operator(FraudDetectorFunction(chosen))


def decided(operator: Operator, payload: dict[str, Any]) -> dict[str, Any] | None:
    lines = operator.send(record(payload)).main
    return orjson.loads(lines[0].partition("\n")[2]) if lines else None


def test_the_stream_scores_as_the_replay_does(trained: Trained) -> None:
    names = OwnValues(load_features([SOURCE])).features.names
    model = build_model(trained.model.manifest, trained.model.arrays, (*OFFLINE_FEATURES, *names))
    expected = dict(zip(trained.rows.transaction_ids, score_rows(model, trained.rows).tolist(), strict=True))
    operator = detector(SOURCE, folder=trained.folder, version=trained.version)
    found = [decided(operator, event.transaction) for event in trained.events]
    scores = {item["transaction_id"]: item["ml_score"] for item in found if item is not None}
    assert scores == expected
    assert len(set(scores.values())) > 20
    assert operator.runtime.count("model_faults") == 0


def test_faults_are_counted_by_kind_and_lose_no_transaction() -> None:
    operator = detector(FeatureSource("bank", BROKEN))
    for number in range(3):
        decision = decided(operator, transaction(f"t-{number}"))
        assert decision is not None
        assert decision["absent"]["own_wide"] == "value_invalid"
    operator.function._metrics.flush(0)
    assert operator.runtime.count("own_feature_faults", fault="function_raised") == 1
    assert operator.runtime.count("own_feature_faults", fault="value_invalid") == 3


@pytest.mark.parametrize(
    "sources", [(), (FeatureSource(EXAMPLE, SOURCE.text + "\n"),)], ids=["none", "another version"]
)
def test_a_model_without_its_module_is_reported_and_rules_score_alone(
    trained: Trained, sources: tuple[FeatureSource, ...]
) -> None:
    operator = detector(*sources, folder=trained.folder)
    ((_, audit),) = lines(operator.control(control({"model_version": trained.version})).side["audit"])
    assert f"own_new_category of {EXAMPLE}" in orjson.loads(audit)["detail"]
    assert operator.runtime.count("model_faults") == 2, "none at the start, and this one"
    decision = decided(operator, transaction("t-1"))
    assert decision is not None
    assert decision["model"] == "degraded"
