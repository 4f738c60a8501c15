"""The reference of a model: distributions of its features and scores at training, against which drift is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from flink_jobs.core.models.faults import ModelError, ModelFault

SCORE: Final = "score"
"""Name of the model score among the bins; no feature can have this name."""
MAX_EDGES: Final = 99
_SUM_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Bins:
    """A distribution in bins.

    Attributes:
        edges: strictly increasing, finite. Bin 0 holds ``x <= edges[0]``, bin i holds ``edges[i-1] < x <= edges[i]``,
            and the last bin holds ``x > edges[-1]``; without edges there is one bin.
        shares: share of the present values in each bin; they sum to 1, or are all 0 when no row had a value.
        absent: share of the rows without a value, 0 to 1.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    absent: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The distributions of a model's features and scores on its evaluation rows.

    Attributes:
        rows: number of evaluation rows.
        bins: feature name to its distribution, and ``SCORE`` to the distribution of the model score.
    """

    rows: int
    bins: dict[str, Bins]


def parse_reference(document: object) -> Reference:
    """Parse the ``reference`` of a manifest.

    Raises:
        ModelError: ``BAD_MANIFEST``.
    """
    if not isinstance(document, dict) or not isinstance(document.get("bins"), dict):
        raise _bad("is not an object with `rows` and `bins`")
    rows = document.get("rows")
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise _bad("has no valid number of rows")
    return Reference(rows, {str(name): _bins(str(name), value) for name, value in document["bins"].items()})


def _bins(name: str, document: Any) -> Bins:  # noqa: ANN401 - JSON; this function checks it
    if not isinstance(document, dict):
        raise _bad(f"{name!r} is not an object")
    edges, shares = _numbers(name, document.get("edges")), _numbers(name, document.get("shares"))
    (absent,) = _numbers(name, [document.get("absent")])
    if len(edges) > MAX_EDGES or any(left >= right for left, right in pairwise(edges)):
        raise _bad(f"{name!r}: edges must increase; at most {MAX_EDGES} are allowed")
    if len(shares) != len(edges) + 1 or min(shares) < 0.0 or not 0.0 <= absent <= 1.0:
        raise _bad(f"{name!r}: needs one non-negative share per bin, and `absent` from 0 to 1")
    total = math.fsum(shares)
    if total and abs(total - 1.0) > _SUM_TOLERANCE:
        raise _bad(f"{name!r}: shares sum to {total:g}, not 1")
    return Bins(edges, shares, absent)


def _numbers(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, list | tuple):
        raise _bad(f"{name!r} has no list of `edges` or `shares`")
    if not all(type(value) in {int, float} and math.isfinite(value) for value in values):
        raise _bad(f"{name!r} holds a value that is not a finite number")
    return tuple(map(float, values))


def _bad(problem: str) -> ModelError:
    return ModelError(ModelFault.BAD_MANIFEST, f"reference {problem}")
