"""The own features of changed purchases, as far as they read only what a data set holds.

A data set has no places, channels, countries and addresses. An own feature that reads one of these is noted, and its
values are not used.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from flink_jobs.core.own_features.customer_view import Customer
from flink_jobs.core.own_features.loading import OwnFeatures
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.transaction import Transaction
from ml.own_columns import OwnColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from flink_jobs.core.own_features.customer_view import Location
    from flink_jobs.core.own_features.declaration import Function

    Note = Callable[[], None]

NOT_HELD: Final = frozenset({"latitude", "longitude", "channel", "country", "ip"})
"""Fields of a transaction that a data set does not hold."""


class HeldFeatures:
    """Own features that are computed without the fields that a data set does not hold."""

    def __init__(self, features: OwnFeatures) -> None:
        """Take the own features of a data set."""
        self._features = features
        self.missed: set[str] = set()
        """Names of the features that read such a field so far."""
        modules = tuple(
            replace(
                module,
                features=tuple(
                    replace(item, function=_watched(item.function, partial(self.missed.add, item.spec.name)))
                    for item in module.features
                ),
            )
            for module in features.modules
        )
        self.values = OwnValues(OwnFeatures(modules))

    def columns(self, values: NDArray[Any]) -> OwnColumns | None:
        """Return the columns of the features that read no such field; None without any.

        Args:
            values: purchases x all features.
        """
        whole = OwnColumns(self._features, values)
        return only(whole, [name for name in self._features.names if name not in self.missed])


def only(own: OwnColumns, names: Collection[str]) -> OwnColumns | None:
    """Return some columns of own features; None if there are none."""
    kept = [place for place, name in enumerate(own.features.names) if name in names]
    modules = tuple(
        replace(module, features=tuple(item for item in module.features if item.spec.name in names))
        for module in own.features.modules
    )
    return OwnColumns(OwnFeatures(modules), own.values[:, kept]) if kept else None


def _watched(function: Function, note: Note) -> Function:
    def watched(customer: Customer, transaction: Transaction) -> float | None:
        seen = _Transaction(*transaction)
        seen.note = note
        return function(_Customer(customer, note), seen)

    return watched


class _Transaction(Transaction):
    """A transaction that notes when a field is read that may not be known."""

    note: Note

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - any field
        if name in NOT_HELD:
            super().__getattribute__("note")()
        return super().__getattribute__(name)

    def __getitem__(self, place: SupportsIndex | slice) -> Any:  # noqa: ANN401 - as above
        self.note()
        return super().__getitem__(place)

    def __iter__(self) -> Iterator[Any]:
        self.note()
        return super().__iter__()


class _Customer(Customer):
    """A customer that notes when the location is read."""

    __slots__ = ("_note",)

    def __init__(self, customer: Customer, note: Note) -> None:
        super().__init__(customer._state)  # noqa: SLF001 - a view of the same state
        self._note = note

    @property
    def location(self) -> Location | None:
        self._note()
        return super().location
