"""Replays the purchases of the sample, changed or not, into features and rule scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.replay import replay_features
from flink_jobs.core.rules import FraudRuleEvaluator
from ml.dataset import RULE_CODES
from ml.stress.period import period_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.core.transaction import Transaction
    from ml.dataset import Dataset
    from ml.stress.period import Period

SPEED = FEATURE_NAMES.index("geo_speed_kmh")
LISTED = FEATURE_NAMES.index("is_blacklisted")


class Replayed(NamedTuple):
    """What the customers' histories give; one entry per purchase."""

    features: NDArray[np.float64]
    rule_score: NDArray[np.float64]
    rule_hits: NDArray[np.bool_]
    own: NDArray[np.float64] | None
    """Purchases x own features; None without any."""


def states_after(dataset: Dataset, rows: NDArray[np.intp], config: DetectionConfig) -> dict[str, bytes]:
    """Return the states of the customers after some rows, which begin with their first one."""
    period, states = period_of(dataset, rows), dict[str, bytes]()
    for _ in replay_features((period.transaction(dataset, place) for place in range(len(rows))), config, states=states):
        pass
    return states


def replay(
    dataset: Dataset,
    period: Period,
    config: DetectionConfig,
    states: dict[str, bytes],
    own: OwnValues | None = None,
) -> Replayed:
    """Return features, rule scores and own features of purchases.

    A data set holds no places and countries. So the speed between two places and the blacklist keep the values of the
    row; a purchase without its place has no speed.

    Args:
        dataset: the data set of the rows.
        period: the purchases, in the order of the stream.
        config: rules and blacklist.
        states: the states of the customers before the first purchase; they stay as they are.
        own: the own features to compute, if any.
    """
    features = np.full((len(period), len(FEATURE_NAMES)), np.nan)
    rule_score, rule_hits = np.zeros(len(period)), np.zeros((len(period), len(RULE_CODES)), dtype=np.bool_)
    more = None if own is None else np.full((len(period), len(own.features.names)), np.nan)
    rules, place = FraudRuleEvaluator(config.rules), -1

    def transactions() -> Iterator[Transaction]:
        nonlocal place
        for place in range(len(period)):
            yield period.transaction(dataset, place)

    for transaction, vector in replay_features(transactions(), config, own=own, states=dict(states)):
        row = dataset.features[period.row[place]]
        speed = row[SPEED] if period.has_place[place] else np.nan
        found = vector._replace(
            geo_speed_kmh=None if np.isnan(speed) else float(speed), is_blacklisted=float(row[LISTED])
        )
        verdict = rules.evaluate(found)
        codes = {code for code, _ in verdict.hits}
        features[place] = [np.nan if value is None else value for value in found]
        rule_score[place] = verdict.score
        rule_hits[place] = [code in codes for code in RULE_CODES]
        if own is not None and more is not None:
            more[place] = [np.nan if value is None else value for value in own.of(transaction)]
    return Replayed(features, rule_score, rule_hits, more)
