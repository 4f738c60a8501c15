"""Time of one score and of one alert's contributions, for each model family as the detector serves it."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.model import build_model
from flink_jobs.native.loader import core_in_use
from ml.dataset import build_dataset
from ml.parameters import ModelFamily, TrainingParameters
from ml.splitting import split_by_time
from ml.train import Provenance, train_model
from tests.lab.benchmarks.bench_report import ResultSection
from tests.lab.benchmarks.outputs import WrongOutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.transaction import Transaction
    from ml.dataset import Dataset
    from ml.train import TrainedModel

CARDS = Path(__file__).parents[2] / "data" / "card_transactions.csv.gz"
ROWS_PER_TURN = 100
TURNS = 15
"""Turns of each family in a round."""
LARGEST_DIFFERENCE = 1e-9
COLUMNS = ("family", "trees", "inputs", "score us", "contributions us", "base + contributions - score")


def measure(rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Train both families on the card file, then time ``score`` and ``contributions`` in microseconds a call.

    Raises:
        WrongOutputError: the base value and the contributions do not add up to the score.
    """
    dataset = build_dataset(read_events(CARDS, mapping_for(CARDS, None)), time.time_ns() // 1_000_000)
    _, late = split_by_time(dataset, 0.7)
    calls = _calls(late)
    turns = rounds * TURNS
    section = ResultSection(
        "model",
        f"Model families as served ({core_in_use()} core)",
        "One score: inputs, trees and calibration. Contributions: those of every input, for one alert. "
        f"Medians of {turns} turns of {ROWS_PER_TURN} rows; each model was trained on the card file.",
        COLUMNS,
    )
    for kind in ModelFamily:
        say(f"{kind.value}: training, then {turns} turns")
        trained: TrainedModel = train_model(
            dataset, TrainingParameters(kind=kind.value), Provenance(CARDS.name, None, "bench", datetime.now(UTC))
        )
        model = build_model(trained.manifest, trained.arrays)
        score_us, contributions_us = (
            statistics.median(_turn(call, calls) for _ in range(turns)) for call in (model.score, model.contributions)
        )
        difference = max(
            abs(model.base + sum(model.contributions(*call).values()) - model.score(*call)) for call in calls
        )
        if difference > LARGEST_DIFFERENCE:
            raise WrongOutputError(f"{kind.value}: contributions miss the score by {difference:.0e}")
        section.cost(f"{kind.value}, score", [score_us], "us")
        section.cost(f"{kind.value}, contributions", [contributions_us], "us")
        section.add(
            kind.value, str(trained.arrays.trees.tree_count), str(len(trained.manifest.feature_names)),
            f"{score_us:.1f}", f"{contributions_us:.0f}", f"{difference:.0e}",
        )  # fmt: skip
    return [section]


def _calls(rows: Dataset) -> list[tuple[FeatureVector, Transaction]]:
    """Return the arguments of the calls of one turn: features (``None`` where there is no history) and transaction."""
    features = [
        FeatureVector(*[None if value != value else value for value in row])  # noqa: PLR0124 - NaN is absent
        for row in rows.features[:ROWS_PER_TURN].tolist()
    ]
    return list(zip(features, rows.transactions(), strict=False))


def _turn(call: Callable[..., object], calls: list[tuple[FeatureVector, Transaction]]) -> float:
    """Return the microseconds of one call, averaged over one turn."""
    started = time.perf_counter()
    for features, transaction in calls:
        call(features, transaction)
    return (time.perf_counter() - started) / len(calls) * 1e6
