"""The rows of an evaluation: scores are blended as in the stream, and each row is in the right groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.rules import RULE_BY_ID, RuleVerdict
from flink_jobs.core.scoring import blend
from ml.blending import blended
from ml.dataset import Dataset, build_dataset
from ml.evaluation.contenders import judged_rows
from tests.unit.ml.synthetic import NOW_MS, events


@pytest.fixture(scope="module")
def given() -> list[SourceEvent]:
    return [
        replace(event, segment="young" if number % 3 else None, pattern="burst" if event.label else None)
        for number, event in enumerate(events(900))
    ]


@pytest.fixture(scope="module")
def dataset(given: list[SourceEvent]) -> Dataset:
    return build_dataset(given, NOW_MS)


def test_the_blend_equals_the_blend_of_the_stream() -> None:
    rng = np.random.default_rng(0)
    models, rules = rng.random(200), rng.random(200)
    ours = blended(models, rules, 0.35)
    theirs = [blend(RuleVerdict(rule, ()), model, 0.35).score for model, rule in zip(models, rules, strict=True)]
    assert ours.tolist() == theirs


def test_every_judged_row_is_in_one_group_of_every_grouping(dataset: Dataset) -> None:
    labels = dataset.labels.copy()
    labels[::7] = -1
    whole = replace(dataset, labels=labels)
    judged = np.arange(len(whole)) >= 50
    rows = judged_rows(whole, judged, {"rules": whole.rule_score[judged]}, "rules")
    labelled = judged & (labels != -1)
    assert len(rows.fraud) == labelled.sum()
    assert rows.unlabelled == judged.sum() - labelled.sum()
    assert rows.scores["rules"].tolist() == whole.rule_score[labelled].tolist()
    assert set(rows.rule_hits) == set(RULE_BY_ID)
    names = {grouping.name: grouping for grouping in rows.groupings}
    assert {"amount", "activity of the customer", "purchases of the customer", "segment"} <= set(names)
    for grouping in rows.groupings:
        assert len(grouping.codes) == len(rows.fraud)
        assert sorted(set(grouping.codes.tolist())) == list(range(len(grouping.names)))
    assert set(names["segment"].names) == {"young", "(none)"}
    assert set(rows.scenarios[rows.fraud]) == {"burst"}
    assert set(rows.scenarios[~rows.fraud]) == {""}


def test_amount_bands_are_within_the_currency(dataset: Dataset) -> None:
    """Yen have no decimals: 100 times the number of minor units is not 100 times the amount."""
    everything = np.ones(len(dataset), dtype=np.bool_)
    rows = judged_rows(dataset, everything, {"rules": dataset.rule_score}, "rules")
    amount = next(grouping for grouping in rows.groupings if grouping.name == "amount")
    top = amount.codes == amount.names.index("top 5 %")
    for currency in range(len(dataset.currency.names)):
        mine = dataset.currency.codes == currency
        assert dataset.amount[mine & top].min() >= dataset.amount[mine & ~top].max()
        assert (mine & top).sum() == pytest.approx(0.05 * mine.sum(), abs=1)


def test_earlier_purchases_are_counted_over_the_whole_history(dataset: Dataset) -> None:
    judged = np.arange(len(dataset)) >= len(dataset) - 50
    labelled = replace(dataset, labels=np.where(np.arange(len(dataset)) % 2, 1, 0).astype(np.int8))
    rows = judged_rows(labelled, judged, {"rules": dataset.rule_score[judged]}, "rules")
    names = [grouping.name for grouping in rows.groupings]
    # Ten customers have about 90 purchases each: no customer is new in the last 50 rows, and one band is no grouping.
    earlier = [(dataset.customer.codes[:row] == dataset.customer.codes[row]).sum() for row in np.flatnonzero(judged)]
    bands = {("few", "some", "many")[int(np.searchsorted([10, 100], count, side="right"))] for count in earlier}
    assert ("purchases of the customer" in names) == (len(bands) > 1)
