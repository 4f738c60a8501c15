"""A model with own features: trained on the replay's values, refused without its module, recorded in its manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest

from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.manifest import parse_manifest
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model, load_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import FeatureSource, read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from ml.artifact_writer import write_artifact
from ml.dataset import Dataset, build_dataset
from ml.entity_risk import with_risk
from ml.evaluation.report.card_draft import CARD_NAME, card_draft, write_card_draft
from ml.evaluation.training import OWN, train_contenders
from ml.feature_table import feature_table
from ml.importing.foreign_trees import ForeignModel, ForeignTree, convert
from ml.model_scores import input_rows, score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.row_choice import chosen_rows, read_excluded
from ml.train import Provenance, TrainedModel, train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.synthetic import NOW_MS, START_MS, events

if TYPE_CHECKING:
    from pathlib import Path

(SOURCE,) = read_sources([EXAMPLE], FOLDER)
NAMES = ("own_quiet_days", "own_roundness", "own_new_category")
BOOSTING = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, own_features=True)
PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))


def own(source: FeatureSource = SOURCE) -> OwnValues:
    return OwnValues(load_features([source]))


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build_dataset(events(600), NOW_MS, own=own())


@pytest.fixture(scope="module")
def model(rows: Dataset) -> TrainedModel:
    return train_model(rows, replace(BOOSTING, label_delay_days=0.0), PROVENANCE)


def test_the_columns_follow_the_rows(rows: Dataset) -> None:
    assert rows.own is not None
    assert rows.own.values.shape == (len(rows), 3)
    assert 0 < np.isnan(rows.own.column(NAMES[0], keep_absent=True)).sum() < 50
    assert not np.isnan(rows.own.column(NAMES[0])).any()
    late = rows.where(rows.event_time_ms > rows.event_time_ms[300])
    assert late.own is not None
    assert len(late.own) == len(late)
    plain = build_dataset(events(600), NOW_MS)
    assert plain.digest() != rows.digest()
    assert plain.digest() == replace(rows, own=None).digest()
    table = feature_table(rows, keep_absent=True)
    assert table.column_names[-3:] == list(NAMES)
    assert table.column(NAMES[0]).null_count == int(np.isnan(rows.own.values[:, 0]).sum())


def test_the_manifest_names_inputs_module_and_version(model: TrainedModel, rows: Dataset) -> None:
    manifest = model.manifest
    assert manifest.feature_names[-3:] == NAMES
    assert manifest.parameters["own_features"] is True
    assert manifest.own_features is not None
    (module,) = manifest.own_features
    assert (module.module, module.sha256) == (EXAMPLE, SOURCE.sha256)
    assert [item.name for item in module.features] == list(NAMES)
    assert manifest.neutral_values["own_quiet_days"] == 30.0
    assert manifest.reference is not None
    assert set(NAMES) < set(manifest.reference.bins)
    assert parse_manifest(manifest.to_json()) == manifest
    plain = train_model(rows, replace(BOOSTING, own_features=False, label_delay_days=0.0), PROVENANCE)
    assert b"own_features" not in plain.manifest.to_json()


@pytest.mark.parametrize(
    "document",
    [[], {}, [1], [{"module": "m", "sha256": "0"}], [{"module": 1, "sha256": "0", "features": []}],
     [{"module": "m", "sha256": "0", "features": [{"name": "own_x"}]}]],
    ids=["empty", "object", "number", "no features", "no name", "half a feature"],
)  # fmt: skip
def test_a_damaged_manifest_is_refused(model: TrainedModel, document: object) -> None:
    content = orjson.loads(model.manifest.to_json()) | {"own_features": document}
    with pytest.raises(ModelError, match="'own_features'"):
        parse_manifest(orjson.dumps(content))


def test_a_model_is_refused_without_its_module_in_its_version(model: TrainedModel, tmp_path: Path) -> None:
    directory = write_artifact(tmp_path, model.manifest, model.arrays)
    with pytest.raises(ModelError, match=r"add my_bank\.features to STREAMFLOW_FEATURES") as refused:
        load_model(directory, FEATURE_NAMES)
    assert refused.value.reason is ModelFault.FEATURE_MISMATCH
    newer = FeatureSource(EXAMPLE, SOURCE.text + "\n# a comment\n")
    with pytest.raises(ModelError, match="this installation has version"):
        load_model(directory, FEATURE_NAMES, own=own(newer))
    assert load_model(directory, FEATURE_NAMES, own=own()).manifest == model.manifest


def test_a_model_never_scores_a_transaction_with_values_of_another(model: TrainedModel, rows: Dataset) -> None:
    values = own()
    built = build_model(model.manifest, model.arrays, own=values)
    vector, one = FeatureVector(*NEUTRAL_VALUES), Transaction("t", "c", 100, "USD", START_MS)
    with pytest.raises(Exception, match="were not computed"):
        built.score(vector, one)
    offline = build_model(model.manifest, model.arrays, (*OFFLINE_FEATURES, *NAMES))
    with pytest.raises(ModelError, match="known for rows only"):
        offline.score(vector, one)
    with pytest.raises(ValueError, match="needs a data set with own features"):
        input_rows(NAMES, {}, replace(rows, own=None))


def test_an_evaluation_compares_own_features_with_the_same_trees_without(rows: Dataset) -> None:
    models = train_contenders(with_risk(rows, (Entity.MERCHANT,)), replace(BOOSTING, label_delay_days=0.0), PROVENANCE)
    assert list(models) == ["forest", "challenger", "merchant", OWN]
    assert models["challenger"].manifest.own_features is models["merchant"].manifest.own_features is None
    names = models[OWN].manifest.feature_names
    assert names[-15:-12] == NAMES
    assert names[-1] == "merchant_fraud_share_30d"
    assert len(score_rows(models[OWN], with_risk(rows, (Entity.MERCHANT,)))) == len(rows)


def foreign(*names: str) -> ForeignModel:
    tree = ForeignTree([len(names) - 1, -1, -1], [0.5, 0, 0], [1, -1, -1], [2, -1, -1], [2, 1, 1], [0.0, 1.0, -1.0])
    return ForeignModel("test", "1", names, (tree,), 0.0, 1e-12)


def test_an_imported_model_may_take_own_features_behind_the_others() -> None:
    assert convert(foreign("is_night", NAMES[0]), own=NAMES).names == ("is_night", NAMES[0])
    with pytest.raises(UserError, match="does not compute these inputs"):
        convert(foreign("is_night", NAMES[0]))
    with pytest.raises(UserError, match="precedes a feature of StreamFlow"):
        convert(foreign(NAMES[0], "is_night"), own=NAMES)


def test_rows_are_left_out_after_the_replay(rows: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "customers.txt"
    path.write_text("# compromised\nc1\n\nc2\n")
    listed = read_excluded(path, "customer")
    since_ms = int(rows.event_time_ms[200])
    few = chosen_rows(rows, since_ms, listed)
    kept = [row for row in range(len(rows)) if rows.event_time_ms[row] >= since_ms]
    kept = [row for row in kept if rows.customer.text(row) not in {"c1", "c2"}]
    assert few.transaction_ids.tolist() == rows.transaction_ids[kept].tolist()
    np.testing.assert_array_equal(few.features, rows.features[kept])
    assert chosen_rows(rows, None, None) is rows
    path.write_text("c2\nc1\n")
    assert read_excluded(path, "customer") == listed
    everybody = "\n".join(f"c{number}" for number in range(10))
    for text, since, problem in (("", None, "names no customer"), ("nobody", None, "has none of the customers"),
                                 ("c1", START_MS * 2, "no rows are as late"),
                                 (everybody, None, "leaves no rows")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UserError, match=problem):
            chosen_rows(rows, since, read_excluded(path, "customer"))
    with pytest.raises(UserError, match="cannot be read"):
        read_excluded(tmp_path / "nothing", "customer")


def test_the_draft_of_a_card_names_what_the_manifest_has(rows: Dataset, tmp_path: Path) -> None:
    chosen = replace(
        BOOSTING, label_delay_days=0.0, train_since_ms=START_MS, excluded_customers=2, excluded_sha256="ab" * 32,
        excluded_cards=3, excluded_cards_sha256="cd" * 32,
    )  # fmt: skip
    trained = train_model(rows, chosen, PROVENANCE)
    assert trained.manifest.parameters["excluded_customers"] == 2
    text = card_draft(trained.manifest)
    for part in ("`own_quiet_days` (days, 0 to 3,650): time since", "`owner` is not stated",
                 "The rows of 2 listed customers", "The rows of 3 listed cards", "`" + "cd" * 32 + "`",
                 "Rows before 2025-06-15T15:06:40+00:00 built", SOURCE.sha256, "| roc auc |"):  # fmt: skip
        assert part in text
    assert "own features" not in card_draft(replace(trained.manifest, own_features=None)).lower()
    path = write_card_draft(tmp_path, trained.manifest)
    assert path == tmp_path / CARD_NAME
    path.write_text("mine")
    assert write_card_draft(tmp_path, trained.manifest) is None
    assert path.read_text() == "mine"
