"""Ways to score one row at a time through the forest that `streamflow train` makes, and both families as they serve."""

from __future__ import annotations

import itertools
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.ensemble import IsolationForest

from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.model import build_model
from flink_jobs.core.models.trees.forest_scorer import compile_score
from ml.dataset import Dataset, build_dataset, split_by_time
from ml.encodings import fit_population
from ml.fitting import FOREST_INPUTS
from ml.isolation_forest import export_forest
from ml.parameters import Kind, TrainingParameters
from ml.scoring import input_rows
from ml.train import Provenance, train_model
from tests.lab.benchmarks import forest_candidates as candidates
from tests.lab.benchmarks.outputs import WrongOutputError
from tests.lab.benchmarks.report import Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.arrays import ForestArrays
    from flink_jobs.core.transaction import Transaction
    from ml.train import TrainedModel

CARDS = Path(__file__).parents[2] / "data" / "card_transactions.csv.gz"
ROWS = 1_000
ROWS_PER_TURN = 100
SLOW_ROWS_PER_TURN = 2
COLD_CALLS = 101
TURNS = 15
"""Turns of each candidate in a round."""
LARGEST_DIFFERENCE = 1e-12
METHOD = (
    "Candidates take turns of a fraction of a millisecond, so that a busy moment of the machine hits all of them; "
    "medians over the turns. Cold is the median of single calls after 16 MiB of other memory was touched, which is "
    "what a call in the middle of a busy job is closer to. The largest difference is from scikit-learn's own score."
)
SERVING = "as it serves: walked in C where there is a build"

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


def families(dataset: Dataset, late: Dataset, rounds: int) -> Section:
    """Measure what the stream calls: a score from features and transaction, and contributions for an alert."""
    features = [
        FeatureVector(*[None if value != value else value for value in row])  # noqa: PLR0124 - NaN is absent
        for row in late.features[:ROWS_PER_TURN].tolist()
    ]
    calls = list(zip(features, late.transactions(), strict=False))
    section = Section(
        "model",
        "Model families as served: inputs, score, calibration; contributions for an alert",
        f"Medians of {rounds} turns of {ROWS_PER_TURN} rows, each model trained on the card file.",
        ("family", "trees", "inputs", "score us", "contributions us", "base + contributions - score"),
    )
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
        section.cost(f"{kind.value}, score", [score_us], "us")
        section.cost(f"{kind.value}, contributions", [contributions_us], "us")
        section.add(
            kind.value, str(trained.arrays.trees.tree_count), str(len(trained.manifest.feature_names)),
            f"{score_us:.1f}", f"{contributions_us:.0f}", f"{difference:.0e}",
        )  # fmt: skip
    return section


def _turn(call: Callable[..., object], calls: list[tuple[FeatureVector, Transaction]]) -> float:
    started = time.perf_counter()
    for features, transaction in calls:
        call(features, transaction)
    return (time.perf_counter() - started) / len(calls) * 1e6


def measure_candidates(rounds: int, say: Callable[[str], None]) -> list[Section]:
    """Time every way to score a row of the forest, and both families as they serve.

    Raises:
        WrongOutputError: a candidate's scores are not scikit-learn's.
    """
    dataset = build_dataset(read_events(CARDS, mapping_for(CARDS, None)), time.time_ns() // 1_000_000)
    early, late = split_by_time(dataset, 0.7)
    extras = fit_population(early)
    rows_per_tree = TrainingParameters().max_samples
    forest = IsolationForest(n_estimators=100, max_samples=rows_per_tree, random_state=7)
    forest.fit(input_rows(FOREST_INPUTS, extras, early))
    turns = rounds * TURNS
    say(f"{len(FACTORIES) + 1} ways to score a row, {turns} turns each")
    results = measure(forest, input_rows(FOREST_INPUTS, extras, late)[:ROWS], turns)
    wrong = [name for name, result in results.items() if not result.difference <= LARGEST_DIFFERENCE]
    if wrong:
        raise WrongOutputError(f"scores are not scikit-learn's: {', '.join(wrong)}")
    section = Section(
        "model",
        f"One row through a forest of {len(forest.estimators_)} trees of {rows_per_tree} rows",
        METHOD,
        ("candidate", "us", "x serving", "cold us", "build ms", "largest difference"),
    )
    for name, result in sorted(results.items(), key=lambda item: -item[1].warm):
        section.add(
            name, f"{result.warm * 1e6:.2f}", f"{result.warm / results[SERVING].warm:.2f}", f"{result.cold * 1e6:.1f}",
            f"{result.build * 1e3:.0f}", f"{result.difference:.0e}",
        )  # fmt: skip
        section.raw.append({"candidate": name, **result._asdict()})
    section.cost("forest, as it serves", [results[SERVING].warm * 1e6], "us a row")
    return [section, families(dataset, late, turns)]
