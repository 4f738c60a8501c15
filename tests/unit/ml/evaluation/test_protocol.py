"""The protocol divides by days, leaves known cards out, and never trains on the days between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flink_jobs.errors import UserError
from ml.dataset import DAY_MS, FRAUD, GENUINE, UNKNOWN, Dataset
from ml.evaluation.protocol import Protocol, divide, parse_protocol, training_rows
from ml.parameters import TrainingParameters
from ml.splitting import split_by_time
from tests.unit.ml.synthetic import dataset

FIRST_DAY = 20_000


def days_of(parts: Dataset) -> list[int]:
    return sorted({int(day) - FIRST_DAY for day in parts.event_time_ms // DAY_MS})


def rows_of(days: list[int], customers: list[int] | None = None, frauds: list[int] | None = None) -> Dataset:
    """Return one row per entry; ``frauds`` are numbers of rows."""
    rows = dataset(len(days))
    labels = np.full(len(days), GENUINE, dtype=np.int8)
    labels[frauds or []] = FRAUD
    codes = np.array(customers or [number % 10 for number in range(len(days))], dtype=np.int32)
    times = (FIRST_DAY + np.array(days, dtype=np.int64)) * DAY_MS + 3_600_000
    return replace(rows, event_time_ms=times, labels=labels, customer=replace(rows.customer, codes=codes))


def test_the_text_is_parsed_and_printed_back() -> None:
    assert str(parse_protocol("days=7,7,7")) == "days=7,7,7"
    assert parse_protocol("days=30,0,1") == Protocol(30, 0, 1)


@pytest.mark.parametrize("text", ["7,7,7", "days=7,7", "days=0,7,7", "days=7,7,0", "days=-1,7,7", "days=7,7,7 ", ""])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--protocol"):
        parse_protocol(text)


def test_the_last_days_are_judged_and_the_days_between_do_not_train() -> None:
    rows = rows_of(list(range(30)))
    parts = divide(rows, Protocol(7, 7, 7))
    assert days_of(rows.where(parts.train)) == list(range(9, 16))
    assert days_of(rows.where(parts.test)) == list(range(23, 30))


def test_a_card_is_left_out_once_its_fraud_is_known() -> None:
    """A fraud on day 1 is known after two days of delay: from day 4 on."""
    rows = rows_of([1, 3, 4, 5, 4], customers=[1, 1, 1, 1, 2], frauds=[0])
    parts = divide(rows, Protocol(1, 1, 3))
    assert parts.train.tolist() == [True, False, False, False, False]
    assert parts.test.tolist() == [False, False, False, False, True]
    later = divide(rows_of([1, 3, 4, 5, 4], customers=[1, 1, 1, 1, 2], frauds=[1]), Protocol(1, 1, 3))
    assert later.test.tolist() == [False, True, True, False, True], "the fraud of day 3 is known from day 5 on"


def test_a_fraud_before_the_first_training_day_leaves_no_card_out() -> None:
    rows = rows_of([0, 1, 3], customers=[1, 1, 1], frauds=[0])
    assert divide(rows, Protocol(1, 1, 1)).test.tolist() == [False, False, True]


def test_rows_without_a_label_do_not_train() -> None:
    rows = rows_of([0, 0, 2])
    unknown = replace(rows, labels=np.array([UNKNOWN, GENUINE, UNKNOWN], dtype=np.int8))
    parts = divide(unknown, Protocol(1, 1, 1))
    assert parts.train.tolist() == [False, True, False]
    assert parts.test.tolist() == [False, False, True], "the judge counts and leaves out unlabelled rows"


@pytest.mark.parametrize(("days", "what"), [([0, 5], "covers 6 days"), ([], "covers 0 days"), ([0, 21], "has no rows")])
def test_data_that_cannot_be_divided_is_refused(days: list[int], what: str) -> None:
    with pytest.raises(UserError, match=what):
        divide(rows_of(days), Protocol(7, 7, 7))


@pytest.mark.parametrize("training_count", range(1, 30))
def test_training_ends_exactly_before_the_test(training_count: int) -> None:
    rows = rows_of([0] * training_count + [2] * 7)
    chosen, parameters = training_rows(rows, divide(rows, Protocol(1, 1, 1)), TrainingParameters())
    early, late = split_by_time(chosen, parameters.train_fraction)
    assert (len(early), len(late)) == (training_count, 7)
    assert parameters.label_delay_days == 0.0
