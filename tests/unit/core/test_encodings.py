"""The encoding tables of an artifact: look-up and checks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.artifact import ModelArrays
from flink_jobs.core.models.encodings import (
    CATEGORY_KEY,
    CATEGORY_RANK,
    MAX_KEYS,
    POPULATION_KEY,
    POPULATION_MEAN,
    POPULATION_STD,
    category_table_key,
    compile_encoding,
    population_key,
)
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.manifest import feature_hash
from flink_jobs.core.models.model import build_model
from flink_jobs.core.transaction import Transaction
from tests.unit.core.forest_samples import forest, manifest

if TYPE_CHECKING:
    from flink_jobs.core.models.model import TreeModel


def table(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any array
    rows = sorted([(population_key("USD"), 4.0, 0.5), (population_key("JPY"), 8.0, 2.0)])
    keys, means, stds = zip(*rows, strict=True)
    arrays = {POPULATION_KEY: keys, POPULATION_MEAN: means, POPULATION_STD: stds} | changes
    return {name: np.array(values, dtype="<u4" if name == POPULATION_KEY else "<f8") for name, values in arrays.items()}


def spent(amount_minor: int, currency: str = "USD") -> Transaction:
    return Transaction("t", "c", amount_minor, currency, 1_704_067_200_000)


@pytest.mark.parametrize(
    ("transaction", "zscore"),
    [
        (spent(2_000), (math.log1p(20.0) - 4.0) / 0.5),
        (spent(2_000, "JPY"), (math.log1p(2_000.0) - 8.0) / 2.0),
        (spent(10**12), 20.0),
        (spent(2_000, "EUR"), 0.0),
    ],
)
def test_an_amount_against_the_population(transaction: Transaction, zscore: float) -> None:
    assert compile_encoding("population_zscore", table())(transaction) == pytest.approx(zscore)


def test_no_two_currencies_share_a_key() -> None:
    assert len({population_key(code) for code in MINOR_UNITS}) == len(MINOR_UNITS)


NAMES = ("spend_24h", "population_zscore")


def model(names: tuple[str, ...] = NAMES, extras: dict[str, Any] | None = None) -> TreeModel:
    arrays = ModelArrays(forest(), table() if extras is None else extras)
    described = replace(
        manifest(arrays.trees), feature_names=names, feature_hash=feature_hash(names), arrays_sha256=arrays.digest()
    )
    return build_model(described, arrays)


def test_a_model_uses_a_part_of_the_features_and_its_own_encodings() -> None:
    features = FeatureVector(*[float(place) for place in range(len(FEATURE_NAMES))])
    served = model()
    row = served.inputs(features, spent(2_000))
    assert row[0] == features.spend_24h
    assert row[1:] == pytest.approx([(math.log1p(20.0) - 4.0) / 0.5])
    assert served.score(features, spent(2_000)) == served.score_row(row)
    contributions = served.contributions(features, spent(2_000))
    assert tuple(contributions) == NAMES
    assert served.base + sum(contributions.values()) == pytest.approx(served.score_row(row), abs=1e-12)
    absent = features._replace(spend_24h=None)
    assert served.inputs(absent, spent(2_000))[0] == 0.0
    assert (served.kind, served.digest) == ("isolation_forest", served.manifest.arrays_sha256)


@pytest.mark.parametrize(
    "extras",
    [
        {},
        table(**{POPULATION_KEY: [2, 1]}),
        table(**{POPULATION_KEY: [1, 1]}),
        table(**{POPULATION_KEY: []}),
        table(**{POPULATION_MEAN: [1.0]}),
        table(**{POPULATION_MEAN: [1.0, math.nan]}),
        table(**{POPULATION_STD: [1.0, 0.0]}),
        table(**{POPULATION_STD: [1.0, math.inf]}),
    ],
    ids=["none", "descending", "doubled", "empty", "uneven", "nan", "zero", "infinite"],
)
def test_an_invalid_table_is_refused(extras: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        model(extras=extras)
    assert caught.value.reason is ModelFault.BAD_ARRAYS


@pytest.mark.parametrize("names", [("population_zscore", "spend_24h"), ("spend_24h", "spend_24h"), ("spend_24h", "x")])
def test_inputs_that_this_program_cannot_compute_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        model(names)
    assert caught.value.reason is ModelFault.FEATURE_MISMATCH


def categories(keys: list[int], ranks: list[float]) -> dict[str, Any]:
    return {CATEGORY_KEY: np.array(keys, dtype="<u4"), CATEGORY_RANK: np.array(ranks, dtype="<f8")}


@pytest.mark.parametrize(("category", "rank"), [("travel", 1.0), ("food", 0.0), ("unheard of", -1.0), (None, -1.0)])
def test_the_rank_of_a_category(category: str | None, rank: float) -> None:
    ranks = dict(sorted({category_table_key("food"): 0.0, category_table_key("travel"): 1.0}.items()))
    encode = compile_encoding("category_rank", categories(list(ranks), list(ranks.values())))
    assert encode(spent(2_000)._replace(category=category)) == rank


@pytest.mark.parametrize(
    "extras",
    [
        {},
        categories([], []),
        categories([2, 1], [0.0, 1.0]),
        categories([1, 1], [0.0, 1.0]),
        categories([1, 2], [0.0]),
        categories([1], [math.nan]),
        categories([1], [-1.0]),
        categories([1], [float(MAX_KEYS)]),
        categories(list(range(MAX_KEYS + 1)), [0.0] * (MAX_KEYS + 1)),
    ],
    ids=["none", "empty", "descending", "doubled", "uneven", "nan", "negative", "too_high", "too_many"],
)
def test_an_invalid_table_of_categories_is_refused(extras: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        compile_encoding("category_rank", extras)
    assert caught.value.reason is ModelFault.BAD_ARRAYS
