"""The search for parameters is seeded, uses only the training part, and needs labels of both kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flink_jobs.errors import UserError
from ml.parameters import ModelFamily, TrainingParameters
from ml.splitting import split_by_time
from ml.tuning import SEARCHED, tune
from tests.unit.ml.synthetic import dataset

BOOSTED = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=60, label_delay_days=0.0)
LONG = 600.0


def test_the_same_seed_finds_the_same_parameters_and_reports_each_trial() -> None:
    rows, reported = dataset(400), list[tuple[int, float]]()
    found = tune(rows, BOOSTED, LONG, lambda trials, best: reported.append((trials, best)), max_trials=3)
    again = tune(rows, BOOSTED, LONG, lambda *_: None, max_trials=3)
    assert found == again
    assert [trials for trials, _ in reported] == [1, 2, 3]
    assert reported[-1][1] >= reported[0][1] > 0.0
    untouched = {name: getattr(found, name) for name in ("kind", "seed", "train_fraction", "label_delay_days")}
    assert untouched == {name: getattr(BOOSTED, name) for name in untouched}


def test_rows_kept_to_measure_the_model_do_not_choose_its_parameters() -> None:
    rows = dataset(400)
    _, late = split_by_time(rows, BOOSTED.train_fraction)
    is_late = rows.event_time_ms >= late.event_time_ms.min()
    flipped = replace(rows, labels=np.where(is_late, 1 - rows.labels, rows.labels).astype(np.int8))
    one, other = (tune(given, BOOSTED, LONG, lambda *_: None, max_trials=2) for given in (rows, flipped))
    assert one == other


def test_a_forest_is_not_tuned() -> None:
    with pytest.raises(UserError, match="cannot be tuned"):
        tune(dataset(100), TrainingParameters(), LONG, lambda *_: None)


def test_labels_of_one_kind_cannot_tune() -> None:
    rows = replace(dataset(100), labels=np.zeros(100, dtype=np.int8))
    with pytest.raises(UserError, match="lacks labelled frauds or labelled genuine"):
        tune(rows, BOOSTED, LONG, lambda *_: None)


def test_the_searched_names_are_parameters() -> None:
    assert set(SEARCHED) <= set(BOOSTED.relevant())
