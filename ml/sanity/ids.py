"""Checks whether ids give the labels away: length, prefix, number or order of transaction ids and customer ids."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from ml.dataset import FRAUD
from ml.sanity.finding import Check, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ml.dataset import Dataset

MIN_AUC: Final = 0.9
"""ROC AUC (or 1 - AUC) of an id's property from which the labels follow the ids."""
MIN_FRAUDS: Final = 20
MAX_PREFIXES: Final = 50
_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$")
_PREFIX = re.compile(r"^[^0-9]*")


def labels_follow_ids(rows: Dataset) -> Iterator[Finding]:
    """Yield a warning for transaction ids, and one for customer ids, whose text separates frauds from genuine rows.

    A customer counts as fraud if one of the customer's rows is fraud.

    Args:
        rows: labelled rows with frauds and genuine rows.
    """
    fraud = rows.labels == FRAUD
    yield from _check("transaction ids", [str(text) for text in rows.transaction_ids], fraud)
    codes = np.unique(rows.customer.codes)
    victims = np.isin(codes, rows.customer.codes[fraud])
    yield from _check("customer ids", [rows.customer.names[code] for code in codes], victims)


def _check(what: str, texts: Sequence[str], fraud: NDArray[np.bool_]) -> Iterator[Finding]:
    if min(fraud.sum(), (~fraud).sum()) < MIN_FRAUDS:
        return
    found = []
    for name, values in _properties(texts, fraud):
        area = float(roc_auc_score(fraud, values))
        if max(area, 1.0 - area) >= MIN_AUC:
            found.append(f"{name} (ROC AUC {area:.2f})")
    if found:
        message = f"the labels follow the {what}: frauds were added or numbered apart from the genuine rows"
        yield Finding(Check.LABELS_FOLLOW_IDS, message, tuple(found))


def _properties(texts: Sequence[str], fraud: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    yield "length", np.array([len(text) for text in texts], dtype=np.float64)
    order = np.argsort(np.array(texts, dtype=np.str_), kind="stable")
    places = np.empty(len(texts))
    places[order] = np.arange(len(texts))
    yield "order", places
    numbers = [_LAST_DIGITS.search(text) for text in texts]
    yield "last number", np.array([-1.0 if found is None else float(found[1]) for found in numbers])
    prefixes = [_prefix(text) for text in texts]
    counts = Counter(prefixes)
    if 1 < len(counts) <= MAX_PREFIXES:
        frauds = Counter(prefix for prefix, is_fraud in zip(prefixes, fraud.tolist(), strict=True) if is_fraud)
        yield "prefix", np.array([frauds[prefix] / counts[prefix] for prefix in prefixes])


def _prefix(text: str) -> str:
    found = _PREFIX.match(text)
    return "" if found is None else found[0]
