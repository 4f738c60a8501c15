"""Checks whether one column alone ranks frauds nearly as well as all inputs together.

Real frauds differ in several ways. If one column is enough, that column usually holds a defect of the data.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.metrics import average_precision_score

from flink_jobs.core.features.table import FEATURE_NAMES
from ml.columns import NOTHING
from ml.dataset import DAY_MS, FRAUD
from ml.encodings import fit_population
from ml.fitting import BOOSTING_INPUTS, fit_trees
from ml.model_scores import input_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.sanity.finding import SHOWN, Check, Finding
from ml.sanity.groups import has_both
from ml.splitting import split_by_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ml.columns import Coded
    from ml.dataset import Dataset

MIN_PRECISION: Final = 0.5
"""Average precision below which a column is not suspicious."""
MIN_SHARE: Final = 0.9
"""Share of the average precision of all inputs from which one column ranks as well as they do."""
MIN_FRAUDS: Final = 20
MAX_ROWS: Final = 20_000
"""Rows per half that are used; of larger data, the rows of some customers."""
PRIOR: Final = 20.0
"""Rows with the mean fraud rate that each category and merchant starts with."""
HOUR_MS: Final = 3_600_000


def one_column_ranks(rows: Dataset) -> Iterator[Finding]:
    """Yield a warning for columns that rank the later half as well as boosted trees on all inputs.

    The columns are the features, the amount, the hour, the rate of frauds of the category and of the merchant in the
    earlier half, and the share of the category and of the merchant among all purchases of the last 24 hours.

    Args:
        rows: labelled rows in the order of time.
    """
    early, late = split_by_time(rows, 0.5)
    if not len(late) or not has_both(early) or not has_both(late) or (late.labels == FRAUD).sum() < MIN_FRAUDS:
        return
    fraud = late.labels == FRAUD
    found = []
    for name, values in _columns(rows, early, late):
        precision = max(average_precision_score(fraud, values), average_precision_score(fraud, -values))
        if precision >= MIN_PRECISION:
            found.append((float(precision), name))
    if not found:
        return
    everything = _all_inputs(early, late)
    best = sorted(((value, name) for value, name in found if value >= MIN_SHARE * everything), reverse=True)
    if best:
        message = (
            f"one column alone ranks frauds about as well as all inputs of boosted trees (average precision "
            f"{everything:.2f} on the later half): check where this column gets its information from"
        )
        yield Finding(
            Check.ONE_COLUMN_RANKS,
            message,
            tuple(f"{name} (average precision {value:.2f})" for value, name in best[:SHOWN]),
        )


def _columns(rows: Dataset, early: Dataset, late: Dataset) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for place, name in enumerate(FEATURE_NAMES):
        yield name, late.inputs[:, place]
    yield "amount", late.amount
    yield "hour of the day", (late.event_time_ms % DAY_MS // HOUR_MS).astype(np.float64)
    later = rows.event_time_ms >= late.event_time_ms.min()
    for name in ("category", "merchant"):
        column: Coded = getattr(late, name)
        if (column.codes == NOTHING).all():
            continue
        yield f"fraud rate of the {name}", _rates(getattr(early, name), early.labels == FRAUD)[column.codes]
        shares = _shares(getattr(rows, name).codes, rows.event_time_ms)
        yield f"share of the {name} in the last 24 hours", shares[later]


def _rates(column: Coded, fraud: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the fraud rate of each text; the last entry is that of rows without text."""
    places = column.codes % (len(column.names) + 1)  # NOTHING, which is -1, is the last place
    counts = np.bincount(places, minlength=len(column.names) + 1)
    frauds = np.bincount(places, weights=fraud, minlength=len(column.names) + 1)
    return np.asarray((frauds + PRIOR * fraud.mean()) / (counts + PRIOR), dtype=np.float64)


def _shares(codes: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each row the share of its text among the rows of all customers in the 24 hours before it."""
    shares, counts = np.empty(len(codes)), np.zeros(int(codes.max(initial=0)) + 2)
    window: deque[tuple[int, int]] = deque()
    for row, (code, time_ms) in enumerate(zip(codes.tolist(), times.tolist(), strict=True)):
        while window and window[0][0] <= time_ms - DAY_MS:
            counts[window.popleft()[1]] -= 1
        shares[row] = (counts[code] + 1.0) / (len(window) + 1.0)
        counts[code] += 1
        window.append((time_ms, code))
    return shares


def _all_inputs(early: Dataset, late: Dataset) -> float:
    """Return the average precision of boosted trees on all inputs of a model."""
    train, check = _thinned(early), _thinned(late)
    extras = fit_population(train)
    parameters = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value)
    model = fit_trees(parameters, input_rows(BOOSTING_INPUTS, extras, train), train.labels == FRAUD)
    scores = model.predict_proba(input_rows(BOOSTING_INPUTS, extras, check))[:, 1]
    return float(average_precision_score(check.labels == FRAUD, scores))


def _thinned(rows: Dataset) -> Dataset:
    """Return at most about ``MAX_ROWS`` rows: those of every n-th customer, if frauds remain among them."""
    every = -(-len(rows) // MAX_ROWS)
    few = rows.where(rows.customer.codes % every == 0)
    return few if has_both(few) else replace(rows)
