"""The own features of the rows of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from ml.columns import Grower

if TYPE_CHECKING:
    from collections.abc import Sequence
    from hashlib import _Hash

    from numpy.typing import NDArray

    from flink_jobs.core.features.table import FeatureSpec
    from flink_jobs.core.own_features.loading import OwnFeatures


@dataclass(frozen=True, slots=True)
class OwnColumns:
    """Own features of rows.

    Attributes:
        features: the modules and features, which name the columns.
        values: rows x ``features.names``; NaN where absent.
    """

    features: OwnFeatures
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __getitem__(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> OwnColumns:
        """Return the rows where ``mask`` is true, or the rows with the given numbers."""
        return OwnColumns(self.features, self.values[mask])

    @property
    def specs(self) -> tuple[FeatureSpec, ...]:
        """Name, unit, range and meaning of each column."""
        return tuple(item.spec for item in self.features.features)

    def column(self, name: str, *, keep_absent: bool = False) -> NDArray[np.float64]:
        """Return one column; an absent value is its neutral value, or NaN with ``keep_absent``.

        Raises:
            ValueError: there is no such feature.
        """
        place = self.features.names.index(name)
        column = self.values[:, place]
        return column if keep_absent else np.where(np.isnan(column), self.specs[place].neutral, column)

    def update(self, digest: _Hash) -> None:
        """Add modules, names and values to a digest."""
        digest.update(orjson.dumps([[module.name, module.sha256] for module in self.features.modules]))
        digest.update(np.ascontiguousarray(self.values, dtype="<f8").tobytes())


class OwnRows:
    """Builds the columns row by row."""

    def __init__(self, features: OwnFeatures) -> None:
        """Start without rows."""
        self._features = features
        self._values = Grower("<f8", len(features.names))

    def append(self, values: Sequence[float | None]) -> None:
        """Add one row."""
        self._values.append([np.nan if value is None else value for value in values])

    def array(self) -> OwnColumns:
        """Return the columns."""
        return OwnColumns(self._features, self._values.array())


def own_names(own: OwnColumns | None) -> tuple[str, ...]:
    """Return the names of the own features of a data set, if it has any."""
    return () if own is None else own.features.names
