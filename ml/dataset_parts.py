"""Data sets in parts: what other processes return, and what a Parquet file keeps, column by column.

Every function goes over the fields of ``Dataset``, so a new column needs no change here.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ml.columns import NOTHING, Coded
from ml.dataset import Dataset
from ml.own_columns import OwnColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flink_jobs.core.own_features.loading import OwnFeatures

Columns = dict[str, Any]
"""Arrays and ``Coded`` columns by the name of the field of ``Dataset``; own features as a matrix."""
REJECTED: Final = "rejected"
OWN: Final = "own"


def columns_of(dataset: Dataset) -> Columns:
    """Return the columns that a data set has; own features without the code that computes them."""
    found = {item.name: getattr(dataset, item.name) for item in fields(dataset) if item.name != REJECTED}
    return {
        name: column.values if isinstance(column, OwnColumns) else column
        for name, column in found.items()
        if column is not None
    }


class DatasetParts:
    """Joins parts of a data set, in the order of the rows. Texts get the codes that ``build_dataset`` gives them."""

    def __init__(self) -> None:
        """Start without rows."""
        self._arrays: dict[str, list[NDArray[Any]]] = {}
        self._names: dict[str, dict[str, int]] = {}

    def extend(self, parts: Sequence[Columns], order: NDArray[np.intp] | None = None) -> None:
        """Add rows.

        Args:
            parts: parts with the same columns.
            order: numbers of the rows of all parts, one part after the other, in the order of the rows; None: the
                parts follow each other.
        """
        for name, first in parts[0].items():
            if isinstance(first, Coded):
                values = self._codes(name, [part[name] for part in parts], order)
            else:
                values = np.concatenate([part[name] for part in parts])
                values = values if order is None else values[order]
            self._arrays.setdefault(name, []).append(values)

    def _codes(self, name: str, parts: Sequence[Coded], order: NDArray[np.intp] | None) -> NDArray[np.int32]:
        names: list[str] = []
        shifted: list[NDArray[np.int32]] = []
        for part in parts:
            shifted.append(np.where(part.codes == NOTHING, NOTHING, part.codes + len(names)).astype(np.int32))
            names.extend(part.names)
        codes = np.concatenate(shifted)
        codes = codes if order is None else codes[order]
        used, first = np.unique(codes, return_index=True)
        code_of = self._names.setdefault(name, {})
        again = np.full(len(names) + 1, NOTHING, dtype=np.int32)  # NOTHING is the last place
        for code in used[np.argsort(first)].tolist():
            if code != NOTHING:
                again[code] = code_of.setdefault(names[code], len(code_of))
        return again[codes]

    def dataset(self, features: OwnFeatures | None, rejected: int) -> Dataset:
        """Return the rows, and forget them.

        Args:
            features: the own features, for parts with some.
            rejected: see ``Dataset``.
        """
        columns: Columns = {}
        while self._arrays:
            name, arrays = self._arrays.popitem()
            column = np.concatenate(arrays)
            columns[name] = Coded(column, tuple(self._names.pop(name))) if name in self._names else column
        if OWN in columns:
            if features is None:
                raise ValueError("the rows have own features, and their modules are not given")
            columns[OWN] = OwnColumns(features, columns[OWN])
        return Dataset(**columns, rejected=rejected)
