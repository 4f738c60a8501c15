"""Reads the label of a row: fraud, genuine or no label. An unknown label value is an error, never "genuine"."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.cards.converters import Cell, to_group
from flink_jobs.cards.row_errors import CellError, RowReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

OPPOSITES = (
    ({"1"}, {"0"}),
    ({"true"}, {"false"}),
    ({"yes", "y"}, {"no", "n"}),
    (
        {"fraud", "fraudulent"},
        {"genuine", "legit", "legitimate", "normal", "not fraud", "no fraud", "non-fraud", "nonfraud"},
    ),
)
"""Pairs of fraud values and genuine values. A mapping that names a value also defines the meaning of its opposite."""
EXPLICIT_OPPOSITES = (*OPPOSITES, ({"t"}, {"f"}), ({"f"}, {"g"}))
"""F can mean false or fraud, so these letters count only where the mapping names one of them."""
DEFAULT_FRAUD_VALUES = frozenset().union(*(fraud for fraud, _ in OPPOSITES))
VALUES_SHOWN = 5
_WHOLE = re.compile(r"([+-]?\d+)\.0*")


class UnknownLabelError(CellError):
    """A label is neither a fraud value nor a genuine value."""


@dataclass(frozen=True, slots=True)
class LabelValues:
    """The values of a label column; ``fraud`` and ``genuine`` hold normal forms (see ``normal``)."""

    fraud: frozenset[str] = DEFAULT_FRAUD_VALUES
    genuine: frozenset[str] = frozenset().union(*(genuine for _, genuine in OPPOSITES))
    unlabelled: frozenset[str] = frozenset()

    def is_fraud(self, cell: Cell) -> bool | None:
        """Return whether a label means fraud; None: the value stands for "no label".

        Raises:
            UnknownLabelError: the label is neither a fraud value nor a genuine value.
        """
        for text in normal(cell):
            if text in self.fraud:
                return True
            if text in self.genuine:
                return False
            if text in self.unlabelled:
                return None
        message = f"{to_group(cell)!r} is neither a fraud value nor a genuine value of the label"
        raise UnknownLabelError(message, RowReason.UNKNOWN_LABEL)

    def unknown(self, cells: Iterable[Cell]) -> Counter[str]:
        """Return how often each unknown value occurs."""
        found: Counter[str] = Counter()
        for cell in cells:
            try:
                self.is_fraud(cell)
            except UnknownLabelError:
                found[to_group(cell)] += 1
        return found


def label_values(
    fraud: Collection[str] | None, genuine: Collection[str] | None, unlabelled: Collection[str] = ()
) -> LabelValues:
    """Return the values of a mapping.

    Args:
        fraud: the mapping's ``fraud_values``; None: the usual words for fraud.
        genuine: the mapping's ``genuine_values``; None: the opposites of the fraud values.
        unlabelled: the mapping's ``unlabelled_values``, which stand for "no label".
    """
    none = frozenset(normal(value)[0] for value in unlabelled)
    frauds = DEFAULT_FRAUD_VALUES if fraud is None else frozenset(normal(value)[0] for value in fraud)
    if genuine is not None:
        return LabelValues(frauds, frozenset(normal(value)[0] for value in genuine) - frauds, none)
    opposites: set[str] = set()
    for left, right in EXPLICIT_OPPOSITES:
        opposites |= right if frauds & left else set()
    for left, right in OPPOSITES:
        opposites |= left if frauds & right else set()
    return LabelValues(frauds, frozenset(opposites - frauds), none)


def normal(cell: Cell) -> tuple[str, ...]:
    """Return the normal forms of a label: lower case without outer white space, and ``1.0`` is ``1``.

    A boolean of Parquet or JSON also has the form 1 or 0.
    """
    if isinstance(cell, bool):
        return ("true", "1") if cell else ("false", "0")
    text = to_group(cell).strip().casefold()
    whole = _WHOLE.fullmatch(text)
    return (whole[1] if whole else text,)


def shown(found: Counter[str]) -> str:
    """Return label values and their counts for an error message, the most frequent first."""
    text = ", ".join(f"{value[:40]!r} ({count:,} times)" for value, count in found.most_common(VALUES_SHOWN))
    return f"{text} and {len(found) - VALUES_SHOWN:,} other values" if len(found) > VALUES_SHOWN else text
