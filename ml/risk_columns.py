"""The inputs of merchants, terminals, devices and cards of the rows of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from flink_jobs.core.features.entity_risk import RISK_NAMES, RISK_NEUTRALS, Entity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from hashlib import _Hash

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RiskColumns:
    """Inputs of entities, per row.

    Attributes:
        entities: the entities in canonical order, at least one.
        values: rows x ``names``; NaN where absent.
    """

    entities: tuple[Entity, ...]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: Mapping[Entity, NDArray[np.float64]]) -> RiskColumns:
        """Join the inputs of each entity, rows x ``RISK_NAMES[entity]`` each.

        Raises:
            ValueError: no entity.
        """
        entities = tuple(entity for entity in Entity if entity in blocks)
        return cls(entities, np.column_stack([blocks[entity] for entity in entities]))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __getitem__(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> RiskColumns:
        """Return the rows where ``mask`` is true, or the rows with the given numbers."""
        return RiskColumns(self.entities, self.values[mask])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of a model's inputs."""
        return risk_names(self.entities)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one input, finite: an absent value is replaced by its neutral value.

        Raises:
            ValueError: the data set was built without the inputs of this entity.
        """
        if name not in self.names:
            raise ValueError(f"input {name!r} needs a data set from with_risk with its entity")
        column = self.values[:, self.names.index(name)]
        return np.where(np.isnan(column), RISK_NEUTRALS[name], column)

    def update(self, digest: _Hash) -> None:
        """Add names and values to a digest."""
        digest.update(orjson.dumps(self.names))
        digest.update(np.ascontiguousarray(self.values, dtype="<f8").tobytes())


def risk_names(entities: Iterable[Entity]) -> tuple[str, ...]:
    """Return the names of the inputs of some entities, in their order."""
    return tuple(name for entity in entities for name in RISK_NAMES[entity])
