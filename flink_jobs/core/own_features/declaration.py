"""Declares an own feature: a function with a name, a unit, a range and a meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.core.features.table import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.own_features.customer_view import Customer
    from flink_jobs.core.transaction import Transaction

    Function = Callable[[Customer, Transaction], float | None]

PREFIX: Final = "own_"
"""Every own feature's name begins with it, so a later feature of StreamFlow never has the same name."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
_LONGEST_UNIT, _LONGEST_TEXT = 40, 300


class OwnFeatureError(Exception):
    """A module of own features cannot be used; the message says why and where."""


@dataclass(frozen=True, slots=True)
class OwnFeature:
    """One own feature.

    Attributes:
        spec: name with ``PREFIX``, unit, range, neutral value, what absence means, and meaning.
        function: the function.
    """

    spec: FeatureSpec
    function: Function

    def __call__(self, customer: Customer, transaction: Transaction) -> float | None:
        """Call the function, for tests of the module."""
        return self.function(customer, transaction)


def is_own(name: str) -> bool:
    """Return whether an input of a model has the name of an own feature."""
    return name.startswith(PREFIX)


def feature(
    *, unit: str, low: float, high: float, neutral: float, absent: str, meaning: str
) -> Callable[[Function], OwnFeature]:
    """Declare the function below as an own feature; its name is ``own_`` and the function's name.

    Args:
        unit: unit of the value, such as ``days`` or ``ratio``.
        low: smallest value.
        high: largest value. A value outside the range counts as absent.
        neutral: value that a model gets where the feature is absent: that of an ordinary transaction.
        absent: when the feature has no value; it then returns ``None``.
        meaning: what the value is, for analysts and model cards.

    Raises:
        OwnFeatureError: the declaration is not valid.
    """

    def declare(function: Function) -> OwnFeature:
        name = function.__name__
        problem = _problem(name, {"unit": unit, "absent": absent, "meaning": meaning}, low, high, neutral)
        if problem is not None:
            raise OwnFeatureError(f"feature {name!r}: {problem}")
        spec = FeatureSpec(PREFIX + name, unit, float(low), float(high), float(neutral), absent, meaning)
        return OwnFeature(spec, function)

    return declare


def _problem(name: str, texts: dict[str, Any], low: Any, high: Any, neutral: Any) -> str | None:  # noqa: ANN401 - the user's
    if not _NAME.fullmatch(name):
        return "the name must have 1 to 60 lower-case letters, digits and underscores, a letter first"
    for which, text in texts.items():
        longest = _LONGEST_UNIT if which == "unit" else _LONGEST_TEXT
        if not isinstance(text, str) or not text.strip() or len(text) > longest or not text.isprintable():
            return f"{which!r} must be a text of 1 to {longest} printable characters"
    numbers = (low, high, neutral)
    if not all(isinstance(number, int | float) and isfinite(number) for number in numbers):
        return "low, high and neutral must be finite numbers"
    if not low < high or not low <= neutral <= high:
        return "low must be below high, and neutral between them"
    return None
