"""Replays the inputs of merchants, terminals, devices and cards (``core.features.entity_risk``) over a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.entity_risk import (
    DEFAULT_DELAY_DAYS,
    RISK_NAMES,
    Entity,
    entity_id,
    risk_at,
    risk_inputs,
    slot_of,
)
from flink_jobs.core.state.customer import transaction_fingerprint
from flink_jobs.core.state.merchant import MerchantState
from ml.columns import NOTHING
from ml.dataset import FRAUD
from ml.risk_columns import RiskColumns

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from flink_jobs.core.transaction import Transaction
    from ml.columns import Coded
    from ml.dataset import Dataset


class RiskReplay:
    """The history of entities while transactions are replayed in their order.

    Each step encodes and decodes the entity's state, as a state backend does. A label is learned at once and counts
    after the delay (``risk_at``). Memory: the state of each id, at most 6,201 bytes for a delay of 7 days.
    """

    def __init__(self, entities: Collection[Entity], delay_days: int = DEFAULT_DELAY_DAYS) -> None:
        """Start without history.

        Args:
            entities: whose history is kept.
            delay_days: days until a label is known.
        """
        self._delay_days = delay_days
        self._states: dict[Entity, dict[str, bytes]] = {entity: {} for entity in Entity if entity in entities}

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities that have a history, in canonical order."""
        return tuple(self._states)

    def inputs(self, entity: Entity, transaction: Transaction) -> tuple[float | None, ...]:
        """Return the inputs of a transaction in the order of ``RISK_SPECS``; ``None`` where a value is absent."""
        name = entity_id(transaction, entity)
        if name is None:
            return (None,) * len(RISK_NAMES[entity])
        amount = major_amount(transaction.amount_minor, transaction.currency)
        return self.at(entity, name, transaction.event_time_ms, amount)

    def at(self, entity: Entity, name: str, time_ms: int, amount: float) -> tuple[float | None, ...]:
        """Return the inputs of a purchase of ``amount`` major units at the entity with the id ``name``."""
        state = MerchantState(self._states[entity].get(name))
        return risk_inputs(risk_at(state, slot_of(time_ms), self._delay_days), amount)

    def push(self, entity: Entity, name: str, time_ms: int, amount: float, fraud: str | None) -> None:
        """Add a purchase; ``fraud`` is the id of the label for one that was fraud, else ``None``."""
        state = MerchantState(self._states[entity].get(name))
        state.update(time_ms, amount, self._delay_days)
        if fraud is not None:
            state.learn(transaction_fingerprint(fraud), time_ms, is_fraud=True)
        self._states[entity][name] = state.to_bytes()


def with_risk(dataset: Dataset, entities: Collection[Entity], delay_days: int = DEFAULT_DELAY_DAYS) -> Dataset:
    """Return the data set with the inputs of some entities.

    The rows are replayed in their order (``RiskReplay``). A row that does not name an entity has no values of it.

    Args:
        dataset: the whole history; rows that are left out do not count for their entities.
        entities: at least one.
        delay_days: days until a label is known.

    Raises:
        ValueError: no entity.
    """
    blocks = {entity: replayed(dataset, entity, delay_days) for entity in Entity if entity in entities}
    return replace(dataset, risk=RiskColumns.of(blocks))


def without_ids(dataset: Dataset, entities: Collection[Entity]) -> tuple[Entity, ...]:
    """Return those of the entities that no row of a data set names."""
    return tuple(entity for entity in Entity if entity in entities and not (ids_of(dataset, entity).codes >= 0).any())


def ids_of(dataset: Dataset, entity: Entity) -> Coded:
    """Return the column with the ids of an entity."""
    column: Coded = getattr(dataset, entity.value)
    return column


def replayed(dataset: Dataset, entity: Entity, delay_days: int) -> NDArray[np.float64]:
    """Return the inputs of one entity, rows x ``RISK_NAMES[entity]``; NaN where absent. See ``with_risk``."""
    values = np.full((len(dataset), len(RISK_NAMES[entity])), np.nan)
    ids, customers = ids_of(dataset, entity), dataset.customer.names
    replay = RiskReplay((entity,), delay_days)
    columns = (ids.codes, dataset.event_time_ms, dataset.amount, dataset.labels, dataset.customer.codes)
    rows = zip(*(column.tolist() for column in columns), dataset.transaction_ids, strict=True)
    for row, (code, time_ms, amount, label, customer, transaction_id) in enumerate(rows):
        if code == NOTHING:
            continue
        name = ids.names[code]
        inputs = replay.at(entity, name, time_ms, amount)
        values[row] = [np.nan if value is None else value for value in inputs]
        fraud = f"{customers[customer]}\x1f{transaction_id}" if label == FRAUD else None
        replay.push(entity, name, time_ms, amount, fraud)
    return values
