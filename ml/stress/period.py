"""The rows from the first judged one on, as the columns that a scenario may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.transaction import Transaction
from ml.columns import NOTHING, Coded
from ml.entity_risk import ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ml.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Period:
    """Purchases in the order of the stream; every array has one entry per purchase.

    Attributes:
        row: number of the row of the data set.
        is_copy: true for a purchase that a scenario added; it has the customer and the ids of its row.
        time_ms: event time, UTC milliseconds.
        amount: major units, a whole number of minor units.
        currency: ISO 4217 code.
        category: category, or none.
        ids: code of the merchant, terminal, device and card in the column of the data set, or ``NOTHING``.
        has_place: false where a scenario took the place of the purchase away.
    """

    row: NDArray[np.intp]
    is_copy: NDArray[np.bool_]
    time_ms: NDArray[np.int64]
    amount: NDArray[np.float64]
    currency: Coded
    category: Coded
    ids: Mapping[Entity, NDArray[np.int32]]
    has_place: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of purchases."""
        return len(self.row)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Period:
        """Return some purchases."""
        return Period(
            self.row[chosen], self.is_copy[chosen], self.time_ms[chosen], self.amount[chosen], self.currency[chosen],
            self.category[chosen], {entity: codes[chosen] for entity, codes in self.ids.items()},
            self.has_place[chosen],
        )  # fmt: skip

    def minor_units(self) -> NDArray[np.float64]:
        """Return the number of minor units of one major unit, by purchase."""
        units = np.array([float(MINOR_UNITS[name]) for name in self.currency.names])
        return units[self.currency.codes]

    def transaction(self, dataset: Dataset, place: int) -> Transaction:
        """Return one purchase with the fields that a data set holds."""
        row, currency = int(self.row[place]), str(self.currency.text(place))

        def text(entity: Entity) -> str | None:
            code = int(self.ids[entity][place])
            return None if code == NOTHING else ids_of(dataset, entity).names[code]

        copy = "\x1f" if self.is_copy[place] else ""  # no id holds a control character
        return Transaction(
            f"{dataset.transaction_ids[row]}{copy}",
            str(dataset.customer.text(row)),
            round(float(self.amount[place]) * MINOR_UNITS[currency]),
            currency,
            int(self.time_ms[place]),
            text(Entity.MERCHANT),
            self.category.text(place),
            terminal=text(Entity.TERMINAL),
            device=text(Entity.DEVICE),
            card=text(Entity.CARD),
        )


def period_of(dataset: Dataset, rows: NDArray[np.intp]) -> Period:
    """Return rows of a data set, in their order, unchanged."""
    return Period(
        row=rows,
        is_copy=np.zeros(len(rows), dtype=np.bool_),
        time_ms=dataset.event_time_ms[rows],
        amount=dataset.amount[rows],
        currency=dataset.currency[rows],
        category=dataset.category[rows],
        ids={entity: ids_of(dataset, entity).codes[rows] for entity in Entity},
        has_place=np.ones(len(rows), dtype=np.bool_),
    )
