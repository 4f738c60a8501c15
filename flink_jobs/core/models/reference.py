"""The distribution a model was measured on, kept in its manifest: what drift is measured against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from flink_jobs.core.models.faults import ModelError, ModelFault

SCORE: Final = "score"
"""Name of the model's own score among the bins; no feature may be called so."""
MAX_EDGES: Final = 99
_SUM_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Bins:
    """A distribution in bins.

    Attributes:
        edges: strictly increasing, finite. Bin 0 holds `x <= edges[0]`, bin i `edges[i-1] < x <= edges[i]`, the last
            one `x > edges[-1]`; without edges there is one bin.
        shares: one per bin, of the values that were there; they sum to 1, or are all 0 where none was.
        absent: share of the rows without a value, 0 to 1.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    absent: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What a model saw when it was measured.

    Attributes:
        rows: how many rows the shares are of.
        bins: feature name to its distribution, and `SCORE` to the one of the model's score.
    """

    rows: int
    bins: dict[str, Bins]


def parse_reference(document: object) -> Reference:
    """Read the `reference` of a manifest.

    Raises:
        ModelError: `BAD_MANIFEST`.
    """
    if not isinstance(document, dict) or not isinstance(document.get("bins"), dict):
        raise _bad("is not an object with `rows` and `bins`")
    rows = document.get("rows")
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise _bad("has no number of rows")
    return Reference(rows, {str(name): _bins(str(name), value) for name, value in document["bins"].items()})


def _bins(name: str, document: Any) -> Bins:  # noqa: ANN401 - JSON, checked here
    if not isinstance(document, dict):
        raise _bad(f"{name!r} is not an object")
    edges, shares = _numbers(name, document.get("edges")), _numbers(name, document.get("shares"))
    (absent,) = _numbers(name, [document.get("absent")])
    if len(edges) > MAX_EDGES or any(left >= right for left, right in pairwise(edges)):
        raise _bad(f"{name!r}: edges must increase, at most {MAX_EDGES} of them")
    if len(shares) != len(edges) + 1 or min(shares) < 0.0 or not 0.0 <= absent <= 1.0:
        raise _bad(f"{name!r}: needs one share per bin, none negative, and `absent` from 0 to 1")
    total = math.fsum(shares)
    if total and abs(total - 1.0) > _SUM_TOLERANCE:
        raise _bad(f"{name!r}: shares sum to {total:g}, not to 1")
    return Bins(edges, shares, absent)


def _numbers(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, list | tuple):
        raise _bad(f"{name!r} lacks `edges` or `shares`")
    if not all(type(value) in {int, float} and math.isfinite(value) for value in values):
        raise _bad(f"{name!r} holds something else than finite numbers")
    return tuple(map(float, values))


def _bad(problem: str) -> ModelError:
    return ModelError(ModelFault.BAD_MANIFEST, f"reference {problem}")
