"""Computes the own features of each transaction, for the models and for the decision."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.own_features.customer_view import Customer
from flink_jobs.core.reasons import AbsenceReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flink_jobs.core.documents import DecisionDocument
    from flink_jobs.core.own_features.loading import OwnFeatures
    from flink_jobs.core.state.customer import CustomerFraudState
    from flink_jobs.core.transaction import Transaction


class OwnValues:
    """The own features of one transaction after the other, of one parallel instance."""

    def __init__(self, features: OwnFeatures) -> None:
        """Use the features of an installation; no transaction is known yet."""
        self.features = features
        self.faults = {AbsenceReason.FUNCTION_RAISED: 0, AbsenceReason.VALUE_INVALID: 0}
        """Calls without a valid value since the count was last taken, by what was wrong."""
        self._rows: list[tuple[str, Callable[[Customer, Transaction], Any], float, float]] = [
            (item.spec.name, item.function, item.spec.low, item.spec.high) for item in features.features
        ]
        self._transaction: Transaction | None = None
        self._values: tuple[float | None, ...] = ()
        self._absent: dict[str, str] = {}

    def compute(self, state: CustomerFraudState, transaction: Transaction) -> None:
        """Compute all features of a transaction against the state before it. No exception leaves this method."""
        customer = Customer(state)
        values: list[float | None] = []
        absent: dict[str, str] = {}
        for name, function, low, high in self._rows:
            try:
                value = function(customer, transaction)
                if value is not None:
                    number = float(value) if isinstance(value, int | float) else None
                    if number is not None and isfinite(number) and low <= number <= high:
                        values.append(number)
                        continue
                why = AbsenceReason.NO_VALUE if value is None else AbsenceReason.VALUE_INVALID
            except Exception:  # noqa: BLE001 - no exception of a module may lose a transaction
                why = AbsenceReason.FUNCTION_RAISED
            values.append(None)
            absent[name] = why
            if why is not AbsenceReason.NO_VALUE:
                self.faults[why] += 1
        self._transaction, self._values, self._absent = transaction, tuple(values), absent

    def use(self, recorded: Mapping[str, float | None], transaction: Transaction) -> None:
        """Use recorded values of a transaction in place of computed ones; a value that was not recorded is absent."""
        self._transaction = transaction
        self._values = tuple(recorded.get(name) for name in self.features.names)
        self._absent = {}

    def of(self, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the values of the transaction that was computed last, ``None`` where absent.

        Raises:
            InputsNotReady: it was another transaction.
        """
        if transaction is not self._transaction:
            raise InputsNotReady("the own features of this transaction were not computed")
        return self._values

    def write(self, decision: DecisionDocument) -> None:
        """Write the values of the last transaction into its decision, and why absent ones have none."""
        decision["features"] = {**decision["features"], **dict(zip(self.features.names, self._values, strict=True))}
        if self._absent:
            decision["absent"] = {**decision["absent"], **self._absent}

    def places(self, names: Sequence[str]) -> tuple[list[int], list[float]]:
        """Return place and neutral value of some features, by name."""
        order = self.features.names
        found = [order.index(name) for name in names]
        return found, [self.features.features[place].spec.neutral for place in found]

    def take_faults(self) -> dict[AbsenceReason, int]:
        """Return the counts since the last call."""
        taken, self.faults = self.faults, dict.fromkeys(self.faults, 0)
        return taken
