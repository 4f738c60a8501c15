"""Measures ways to score one row at a time through the forest that `streamflow train` makes.

Run it with: python -m tests.benchmarks.bench_model [--rounds N] [--max-samples N]

Candidates take turns of a fraction of a millisecond, so that a busy moment of the machine hits all of them; the table
gives medians over rounds and the ratio to the one that serves. "cold" is the median of single calls after 16 MiB of
other memory was touched, which is what a call in the middle of a busy job is closer to.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import IsolationForest

from flink_jobs.core.features import FeatureVector
from flink_jobs.core.forest_scorer import compile_score
from flink_jobs.core.model import build_model
from flink_jobs.traffic.source_files import mapping_for, read_events
from ml.dataset import Dataset, build_dataset, split_by_time
from ml.encodings import fit_population
from ml.fitting import FOREST_INPUTS
from ml.isolation_forest import export_forest
from ml.parameters import Kind, TrainingParameters
from ml.scoring import input_rows
from ml.train import Provenance, train_model
from tests.benchmarks import forest_candidates as candidates

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.transaction import Transaction
    from flink_jobs.core.tree_arrays import ForestArrays
    from ml.train import TrainedModel

CARDS = Path(__file__).parents[1] / "data" / "card_transactions.csv.gz"
ROWS = 1_000
ROWS_PER_TURN = 100
SLOW_ROWS_PER_TURN = 2
COLD_CALLS = 101
SERVING = "bit masks, 16-bit lanes (serves)"

FACTORIES: dict[str, Callable[[ForestArrays], candidates.Score]] = {
    "numpy, level by level": candidates.numpy_walk,
    "Python lists, tree by tree": candidates.list_walk,
    "nested expressions, inputs rounded by struct": candidates.nested,
    "nested expressions, rounding in the thresholds": candidates.nested_boundaries,
    "  + pruned": candidates.nested_pruned,
    "  + pruned, one sum": candidates.nested_one_sum,
    "  + pruned, likely side first": candidates.nested_likely,
    "  + pruned, ten trees a function": candidates.nested_functions,
    "  + pruned, specialised for the common flag": candidates.nested_specialised,
    "bit masks, numpy uint64": candidates.masks_numpy,
    "bit masks, unpacked and looked up": candidates.masks_unpacked,
    "bit masks, 8-bit lanes": candidates.masks_lanes(8),
    "bit masks, 32-bit lanes": candidates.masks_lanes(32),
    "bit masks, 64-bit lanes": candidates.masks_lanes(64),
    SERVING: lambda arrays: compile_score(arrays, candidates.FEATURES),
}


class Result(NamedTuple):
    """What one candidate took, in seconds, and how far its scores are from scikit-learn's."""

    build: float
    warm: float
    cold: float
    difference: float


def measure(forest: IsolationForest, rows: np.ndarray, rounds: int) -> dict[str, Result]:  # type: ignore[type-arg]
    """Build every candidate and let them take turns."""
    arrays = export_forest(forest)
    scorers: dict[str, candidates.Score] = {
        "scikit-learn score_samples": lambda row: -float(forest.score_samples(np.array([row]))[0])
    }
    build = dict.fromkeys(scorers, 0.0)
    for name, factory in FACTORIES.items():
        started = time.perf_counter()
        scorers[name] = factory(arrays)
        build[name] = time.perf_counter() - started
    given = [tuple(row) for row in rows.tolist()]
    expected = -forest.score_samples(rows)
    turn = {name: SLOW_ROWS_PER_TURN if name.startswith("scikit") else ROWS_PER_TURN for name in scorers}
    difference = {
        name: max(abs(score(row) - float(e)) for row, e in zip(given[: turn[name] * 10], expected, strict=False))
        for name, score in scorers.items()
    }
    warm: dict[str, list[float]] = {name: [] for name in scorers}
    for number, (name, score) in itertools.product(range(rounds), scorers.items()):
        first = number * ROWS_PER_TURN % ROWS
        some = given[first : first + turn[name]]
        started = time.perf_counter()
        for row in some:
            score(row)
        warm[name].append((time.perf_counter() - started) / len(some))
    cold = _cold(scorers, given)
    return {name: Result(build[name], statistics.median(warm[name]), cold[name], difference[name]) for name in scorers}


def _cold(scorers: dict[str, candidates.Score], rows: list[tuple[float, ...]]) -> dict[str, float]:
    other_memory = np.zeros((16 << 20) // 8)
    times: dict[str, list[float]] = {name: [] for name in scorers}
    for row, (name, score) in itertools.product(rows[:COLD_CALLS], scorers.items()):
        other_memory += 1.0
        started = time.perf_counter()
        score(row)
        times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def families(dataset: Dataset, late: Dataset, rounds: int) -> Table:
    """Measure what the stream calls: a score from features and transaction, and contributions for an alert."""
    features = [
        FeatureVector(*[None if value != value else value for value in row])  # noqa: PLR0124 - NaN is absent
        for row in late.features[:ROWS_PER_TURN].tolist()
    ]
    calls = list(zip(features, late.transactions(), strict=False))
    table = Table("family", title="\nas served: inputs, score, calibration", box=None)
    for column in ("trees", "inputs", "score us", "contributions us", "base + contributions - score"):
        table.add_column(column, justify="right")
    for kind in Kind:
        trained: TrainedModel = train_model(
            dataset, TrainingParameters(kind=kind.value), Provenance(CARDS.name, None, "bench", datetime.now(UTC))
        )
        model = build_model(trained.manifest, trained.arrays)
        score_us, contributions_us = (
            statistics.median(_turn(call, calls) for _ in range(rounds)) for call in (model.score, model.contributions)
        )
        difference = max(
            abs(model.base + sum(model.contributions(*call).values()) - model.score(*call)) for call in calls
        )
        table.add_row(
            kind.value, str(trained.arrays.trees.tree_count), str(len(trained.manifest.feature_names)),
            f"{score_us:.1f}", f"{contributions_us:.0f}", f"{difference:.0e}",
        )  # fmt: skip
    return table


def _turn(call: Callable[..., object], calls: list[tuple[FeatureVector, Transaction]]) -> float:
    started = time.perf_counter()
    for features, transaction in calls:
        call(features, transaction)
    return (time.perf_counter() - started) / len(calls) * 1e6


def main() -> int:
    """Print the table; fails when a candidate's scores are wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--max-samples", type=int, default=TrainingParameters().max_samples, help="rows per tree")
    options = parser.parse_args()
    rounds = options.rounds
    dataset = build_dataset(read_events(CARDS, mapping_for(CARDS, None)), time.time_ns() // 1_000_000)
    early, late = split_by_time(dataset, 0.7)
    extras = fit_population(early)
    forest = IsolationForest(n_estimators=100, max_samples=options.max_samples, random_state=7)
    forest.fit(input_rows(FOREST_INPUTS, extras, early))
    results = measure(forest, input_rows(FOREST_INPUTS, extras, late)[:ROWS], rounds)
    table = Table(
        "candidate",
        title=f"one row, {len(forest.estimators_)} trees of {options.max_samples} rows, {rounds} rounds",
        box=None,
    )
    for column in ("us", "x serving", "cold us", "build ms", "largest difference"):
        table.add_column(column, justify="right")
    for name, result in sorted(results.items(), key=lambda item: -item[1].warm):
        ratio = result.warm / results[SERVING].warm
        table.add_row(
            name, f"{result.warm * 1e6:.2f}", f"{ratio:.2f}", f"{result.cold * 1e6:.1f}",
            f"{result.build * 1e3:.0f}", f"{result.difference:.0e}",
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    console.print(families(dataset, late, rounds))
    return 0 if all(result.difference <= 1e-12 for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
