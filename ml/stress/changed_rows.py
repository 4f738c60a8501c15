"""The judged rows of a sample under every scenario: features, rule scores and inputs of entities are computed again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.features.entity_risk import RISK_NAMES, Entity
from ml.columns import Coded
from ml.dataset import FRAUD
from ml.entity_risk import ids_of
from ml.risk_columns import RiskColumns
from ml.stress.histories import Bought, entity_inputs
from ml.stress.own_features import HeldFeatures, only
from ml.stress.period import period_of
from ml.stress.replay import replay, states_after
from ml.stress.scenarios import LATER_LABEL_DAYS, SCENARIOS, Impossible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from flink_jobs.core.control.config import DetectionConfig
    from ml.dataset import Dataset
    from ml.stress.period import Period
    from ml.stress.sample import Sample
    from ml.stress.scenarios import Scenario

OTHER_FEATURES: Final = (
    "a replay of the rows gives other features than recorded, because earlier rows of the customers are missing"
)


class ChangedRows:
    """Computes the judged rows of a sample again.

    The replay without a change is compared with the rows. Where it gives other values, no scenario that needs it is
    computed: its numbers would mix the effect of the scenario with that of a history that the rows do not have.
    """

    def __init__(self, dataset: Dataset, sample: Sample, config: DetectionConfig, delay_days: int) -> None:
        """Replay the history of the sample.

        Args:
            dataset: the whole history.
            sample: customers of it.
            config: the rules and the blacklist of the data set.
            delay_days: days until a label is known.
        """
        self._dataset, self._sample, self._config, self._delay_days = dataset, sample, config, delay_days
        self._states = states_after(dataset, sample.history, config)
        self._rows = dataset.where(np.flatnonzero(sample.judged))
        self._period = period_of(dataset, np.arange(sample.first, len(dataset)))
        again = self._under(self._period, self._states, delay_days)
        self._has_features = np.array_equal(again.features, self._rows.features, equal_nan=True) and np.array_equal(
            again.rule_score, self._rows.rule_score
        )
        self._own = _same_own(self._rows, again)
        self._entities = tuple(
            entity
            for entity in (() if dataset.risk is None else dataset.risk.entities)
            if np.array_equal(_block(self._rows, entity), _block(again, entity), equal_nan=True)
        )

    def all(self, seed: int) -> Iterator[tuple[Scenario, Dataset | str]]:
        """Yield every scenario with the rows under it, or why there are none.

        Inputs of an entity and own features whose replay gives other values are left out of the rows, and own features
        that read fields which the rows do not hold.
        """
        for number, scenario in enumerate(SCENARIOS):
            if not scenario.is_change and not scenario.later_labels:
                yield scenario, self._rows
            elif scenario.is_change and not self._has_features:
                yield scenario, OTHER_FEATURES
            else:
                try:
                    yield scenario, self._changed(scenario, np.random.default_rng([seed, number]))
                except Impossible as reason:
                    yield scenario, str(reason)

    def _changed(self, scenario: Scenario, rng: np.random.Generator) -> Dataset:
        period = self._period if scenario.change is None else scenario.change(self._dataset, self._period, rng)
        delay_days = self._delay_days + (LATER_LABEL_DAYS if scenario.later_labels else 0)
        if not scenario.is_change:  # features, own ones included, do not depend on labels
            asked = self._asked(period)
            return replace(self._rows, risk=self._risk(period, asked, delay_days, self._entities))
        changed = self._under(period, self._states if scenario.has_customers else {}, delay_days)
        blocks = {entity: _block(changed, entity) for entity in self._entities}
        own = None if changed.own is None else only(changed.own, self._own)
        return replace(changed, risk=RiskColumns.of(blocks) if blocks else None, own=own)

    def _asked(self, period: Period) -> Period:
        """Return the purchases of the judged rows of the sample, in the order of the rows."""
        return period[~period.is_copy & self._sample.judged[period.row]]

    def _under(self, period: Period, states: dict[str, bytes], delay_days: int) -> Dataset:
        dataset = self._dataset
        mine = period[self._sample.customers[dataset.customer.codes[period.row]]]
        held = None if dataset.own is None else HeldFeatures(dataset.own.features)
        replayed = replay(dataset, mine, self._config, states, None if held is None else held.values)
        places = np.flatnonzero(~mine.is_copy & self._sample.judged[mine.row])
        asked = mine[places]
        entities = () if dataset.risk is None else dataset.risk.entities
        return replace(
            dataset.where(asked.row),
            features=replayed.features[places],
            rule_score=replayed.rule_score[places],
            rule_hits=replayed.rule_hits[places],
            amount=asked.amount,
            currency=asked.currency,
            category=asked.category,
            merchant=Coded(asked.ids[Entity.MERCHANT], dataset.merchant.names),
            risk=self._risk(period, asked, delay_days, entities),
            own=None if held is None or replayed.own is None else held.columns(replayed.own[places]),
        )

    def _risk(self, period: Period, asked: Period, delay_days: int, entities: tuple[Entity, ...]) -> RiskColumns | None:
        """Return the inputs of entities for some purchases of a period, with the rows before the period."""
        if not entities:
            return None
        dataset, before, blocks = self._dataset, slice(self._sample.first), {}
        for entity in entities:
            later = _bought(period, entity, dataset.labels)
            bought = Bought(
                np.concatenate([ids_of(dataset, entity).codes[before], later.codes]),
                np.concatenate([dataset.event_time_ms[before], later.time_ms]),
                np.concatenate([dataset.amount[before], later.amount]),
                np.concatenate([dataset.labels[before] == FRAUD, later.fraud]),
            )
            blocks[entity] = entity_inputs(entity, bought, _bought(asked, entity, dataset.labels), delay_days)
        return RiskColumns.of(blocks)


def _bought(period: Period, entity: Entity, labels: NDArray[np.int8]) -> Bought:
    return Bought(period.ids[entity], period.time_ms, period.amount, (labels[period.row] == FRAUD) & ~period.is_copy)


def _same_own(rows: Dataset, again: Dataset) -> frozenset[str]:
    """Return the names of the own features that have the values of the rows in a second computation."""
    if rows.own is None or again.own is None:
        return frozenset()
    one, other = rows.own, again.own
    return frozenset(
        name
        for name in other.features.names
        if np.array_equal(one.column(name, keep_absent=True), other.column(name, keep_absent=True), equal_nan=True)
    )


def _block(rows: Dataset, entity: Entity) -> NDArray[np.float64]:
    """Return the inputs of one entity as computed, NaN included."""
    if rows.risk is None:
        raise ValueError("the rows have no inputs of entities")
    return rows.risk.values[:, [rows.risk.names.index(name) for name in RISK_NAMES[entity]]]
