"""The protocol of the Fraud Detection Handbook: days that train, days without known labels, days that are judged.

Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection: Practical
Handbook" (2022), chapter 5. Rows before the first training day only build the history of customers and merchants. A
card is left out of a day of the test once a fraud on it is known at the start of that day: its holder has a new card.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from flink_jobs.errors import ErrorCode, UserError
from ml.dataset import DAY_MS, FRAUD, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters

_PATTERN: Final = re.compile(r"days=(\d{1,4}),(\d{1,4}),(\d{1,4})")


class Protocol(NamedTuple):
    """Numbers of UTC days; the last day of the data is the last day of the test."""

    train: int
    """Days of training, 1 or more."""
    delay: int
    """Days until a label is known, 0 or more; they lie between training and test."""
    test: int
    """Days that are judged, 1 or more."""

    def __str__(self) -> str:
        """Return the text of the option."""
        return f"days={self.train},{self.delay},{self.test}"


class Parts(NamedTuple):
    """The rows of each part; true for a row of the part."""

    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def parse_protocol(text: str) -> Protocol:
    """Parse ``days=TRAIN,DELAY,TEST``.

    Raises:
        UserError: the text has another form, or there is no day to train or to judge.
    """
    found = _PATTERN.fullmatch(text)
    protocol = Protocol(*map(int, found.groups())) if found else None
    if protocol is None or not protocol.train or not protocol.test:
        what = f"--protocol {text!r} is not days=TRAIN,DELAY,TEST with at least one day to train and one to judge"
        raise UserError(what, "write for example --protocol days=7,7,7", ErrorCode.USAGE_ERROR)
    return protocol


def divide(dataset: Dataset, protocol: Protocol) -> Parts:
    """Return the rows that train and the rows that are judged.

    Raises:
        UserError: the data is shorter than the protocol, or a part has no rows.
    """
    days = dataset.event_time_ms // DAY_MS
    if not len(days) or days.max() - days.min() + 1 < sum(protocol):
        have = int(days.max() - days.min() + 1) if len(days) else 0
        fix = "give a longer file, or fewer days"
        raise UserError(f"the data covers {have} days; --protocol {protocol} needs {sum(protocol)}", fix)
    end = int(days.max()) + 1
    first_test = end - protocol.test
    first_train = first_test - protocol.delay - protocol.train
    train = (days >= first_train) & (days < first_train + protocol.train)
    test = (days >= first_test) & ~_known_cards(dataset, days, first_train, protocol)
    if not train.any() or not test.any():
        raise UserError(f"a part of --protocol {protocol} has no rows", "give a file without gaps, or other days")
    return Parts(train & (dataset.labels != UNKNOWN), test)


def training_rows(dataset: Dataset, parts: Parts, parameters: TrainingParameters) -> tuple[Dataset, TrainingParameters]:
    """Return the rows of both parts, and parameters that split them at the first day of the test.

    All labels of the training part are known at that split, because the delay lies between the parts.
    """
    rows = dataset.where(parts.train | parts.test)
    fraction = (int(parts.train.sum()) + 0.5) / len(rows)  # half a row more: rounding must not move the split
    return rows, replace(parameters, train_fraction=fraction, label_delay_days=0.0)


def _known_cards(dataset: Dataset, days: NDArray[np.int64], first_day: int, protocol: Protocol) -> NDArray[np.bool_]:
    """Return the rows of cards with a fraud that is known at the start of the row's day.

    Frauds before the first training day do not count, as in the Handbook.
    """
    never = int(days.max()) + protocol.delay + 2
    known_on = np.full(int(dataset.customer.codes.max()) + 1, never)
    fraud = (dataset.labels == FRAUD) & (days >= first_day)
    np.minimum.at(known_on, dataset.customer.codes[fraud], days[fraud] + protocol.delay + 1)
    return known_on[dataset.customer.codes] <= days
