"""Facts for the second line: governance, results over time, and the inputs that a model needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.models.own_use import UsedFeature, UsedModule
from flink_jobs.core.scoring import blend_in_force
from flink_jobs.errors import UserError
from ml.dataset import DAY_MS
from ml.evaluation.document import EvaluationDocument, JudgedBlend
from ml.evaluation.evaluation import JudgingOptions, judge
from ml.evaluation.governance import Governance, read_governance
from ml.evaluation.importance import input_importance
from ml.evaluation.over_time import periods_of
from ml.evaluation.report.evaluation_page import evaluation_page
from ml.evaluation.report.model_card import model_card
from ml.model_scores import score_rows
from ml.stress.result import StressResult, StressTest
from ml.threshold_table import threshold_table
from ml.train import train_model
from tests.unit.ml.evaluation.samples import judged, manifest_of
from tests.unit.ml.synthetic import dataset
from tests.unit.ml.test_blending import BOOSTED
from tests.unit.ml.test_train import PROVENANCE

if TYPE_CHECKING:
    from pathlib import Path

FACTS = """
owner: Payments risk
developer: Ada
validator: Bob
approver: Eve
approved_on: 2026-11-27
next_review: "2027-05-27"
synthetic_data: all of it
data_quality: labels are late
overrides: reviewed each month
alternatives: [logistic regression]
limitations: [new customers]
"""


@pytest.mark.parametrize(("days", "length", "count"), [(3, 1, 3), (31, 1, 31), (60, 7, 9)])
def test_every_row_is_in_one_period(days: int, length: int, count: int) -> None:
    made = dataset(400, fraud_share=0.2)
    rows = replace(made, event_time_ms=np.linspace(0, days * DAY_MS - 1, 400).astype(np.int64))
    blend = np.random.default_rng(2).random(400)
    found = periods_of(rows, blend, 0.8)
    assert (len(found), {one.days for one in found}) == (count, {length})
    assert sum(one.rows for one in found) == 400
    assert sum(one.alerts for one in found) == (blend >= 0.8).sum()
    assert sum(one.frauds for one in found) == (rows.labels == 1).sum()
    first = rows.event_time_ms < length * DAY_MS
    fraud = rows.labels[first] == 1
    assert found[0].recall == pytest.approx((blend[first] >= 0.8)[fraud].mean())
    assert found[0].average_precision == pytest.approx(average_precision_score(fraud, blend[first]))


def test_a_period_without_labels_has_no_precision() -> None:
    rows = dataset(20, labelled=False)
    (one,) = periods_of(rows, np.linspace(0.0, 1.0, 20), 0.5)
    assert (one.precision, one.recall, one.average_precision, one.alerts) == (None, None, None, 10)


def test_an_input_that_the_trees_use_is_more_important_than_one_that_they_do_not() -> None:
    rows = dataset(2_000, fraud_share=0.1)
    features = np.random.default_rng(4).normal(size=(2_000, rows.features.shape[1]))
    features[:, 2] += 3.0 * (rows.labels == 1)
    rows = replace(rows, features=features)
    trained = train_model(rows, BOOSTED, PROVENANCE)
    model = build_model(trained.manifest, trained.arrays, OFFLINE_FEATURES)
    found = input_importance(model, rows, seed=1)
    assert {one.name for one in found} == set(trained.manifest.feature_names)
    assert found[0].name == trained.manifest.feature_names[2]
    assert found[0].loss > 0.3
    assert found[1].loss < 0.1
    assert input_importance(model, rows, seed=1) == found
    assert input_importance(model, replace(rows, labels=np.zeros(2_000, dtype=np.int8)), seed=1) == ()
    assert len(score_rows(model, rows)) == 2_000


def test_the_facts_are_read_and_what_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "governance.yaml"
    path.write_text(FACTS)
    facts = read_governance(path)
    assert (facts.approved_on, facts.next_review) == ("2026-11-27", "2027-05-27")
    assert (facts.owner, facts.alternatives, facts.problems()) == ("Payments risk", ("logistic regression",), ())
    assert len(Governance().problems()) == 9
    assert replace(facts, validator="Ada").problems() == ("the validator is also the developer or the owner",)
    assert replace(facts, approver="Ada").problems() == ("the approver is also the developer",)
    for wrong in ("ownr: me\n", "owner: 5\n", "limitations: none\n", "- owner\n"):
        path.write_text(wrong)
        with pytest.raises(UserError):
            read_governance(path)


@pytest.fixture
def document(tmp_path: Path) -> EvaluationDocument:
    path = tmp_path / "governance.yaml"
    path.write_text(FACTS)
    rows = dataset(400, fraud_share=0.2)
    blend = np.linspace(0.0, 1.0, 400)
    trained = train_model(rows, replace(BOOSTED, train_fraction=0.5), PROVENANCE)
    model = build_model(trained.manifest, trained.arrays, OFFLINE_FEATURES)
    stress = StressTest(
        40,
        4,
        7,
        (
            StressResult("as recorded", 5.0, 0.5, 0.25, 0.75, 0.0),
            StressResult("a new world", 12.0, None, 0.5, None, -0.02),
            StressResult("labels later", not_computed="there are no labels"),
        ),
    )
    shown = JudgedBlend(
        blend_in_force(DetectionConfig(), None), 5.0, 0.5, 0.5, threshold_table(rows, blend, 0.9, 10.0),
        periods_of(rows, blend, 0.9), input_importance(model, rows, 1), stress=stress,
    )  # fmt: skip
    return EvaluationDocument(
        created_at="2026-01-02T00:00:00+00:00", code_version="1.0", source="cards.csv", source_sha256=None,
        trained_here=True, label_delay_days=3.0, config=DetectionConfig(), models={"good": manifest_of("m")},
        evaluation=judge(judged(), JudgingOptions(5, 2, 10, 3)), blends={"good": shown},
        governance=read_governance(path),
    )  # fmt: skip


def test_the_card_and_the_page_show_the_evidence(document: EvaluationDocument) -> None:
    card, page = model_card(document, "good"), evaluation_page(document)
    for text in ("Owner: Payments risk", "Synthetic data: all of it", "Judged on the same rows: fair, blind",
                 "- logistic regression", "Limitation: new customers", "### Sensitivity", "### Stability"):  # fmt: skip
        assert text in card
    assert "not stated" not in card
    assert "Results over time" in page
    assert "Own features" not in card + page
    unknown = model_card(replace(document, governance=None), "good")
    assert unknown.count("**not stated**") == 9
    assert "Governance: `approver` is not stated" in unknown
    assert document.to_dict()["governance"]["approver"] == "Eve"
    assert document.to_dict()["blends"]["good"]["periods"][0]["rows"] == 400


def test_the_card_and_the_page_show_the_stress_scenarios(document: EvaluationDocument) -> None:
    card, page = model_card(document, "good"), evaluation_page(document)
    assert "### Stress scenarios" in card
    assert "sample of 40 judged rows of 4 customers (seed 7)" in card
    assert "| as recorded | 5.0 | 0.500 | 0.250 | 0.750 | +0.0000 |" in card
    assert "| a new world | 12.0 | - | 0.500 | - | -0.0200 |" in card
    assert "- Not computed: labels later, because there are no labels." in card
    assert all(
        text in page for text in ("a new world", "<li>Not computed: labels later, because there are no labels.</li>")
    )
    assert document.to_dict()["blends"]["good"]["stress"]["results"][1]["alerts_per_day"] == 12.0
    without = replace(document, blends={"good": replace(document.blends["good"], stress=None)})
    assert "Stress" not in model_card(without, "good") + evaluation_page(without)


def test_the_card_and_the_page_show_what_own_features_declare(document: EvaluationDocument) -> None:
    one = UsedFeature("own_quiet_days", "days", 0.0, 3_650.0, 30.0, "for a new customer", "time since the last one")
    manifest = replace(document.models["good"], own_features=(UsedModule("bank.features", "a" * 64, (one,)),))
    document = replace(document, models={"good": manifest})
    cells = ("own_quiet_days", "days", "0 to 3,650", "time since the last one", "for a new customer")
    assert f"| {' | '.join(cells)} | bank.features aaaaaaaaaaaa |" in model_card(document, "good")
    page = evaluation_page(document)
    assert "Own features of good" in page
    assert all(f">{cell}</t" in page for cell in cells)
