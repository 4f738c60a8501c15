"""Time of the gate of ``model promote`` on a card file: without ``--cache``, with an empty one, and with a full one.

``python -m tests.lab.benchmarks.gate_speed`` trains two models of boosted trees on ``tests/data`` and compares them as
the gate does, from the card file to the checks. It ends with an error if the checks differ.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flink_jobs.cli.promote_command import card_rows
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity, entities_of
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.native.loader import core_in_use
from flink_jobs.settings import REPO_ROOT
from ml.gate import GateBounds, compare
from ml.gate_measures import Contender, measure_together
from ml.parameters import ModelFamily, TrainingParameters
from ml.train import Provenance, train_model
from tests.lab.benchmarks.replay_speed import timed

if TYPE_CHECKING:
    from ml.dataset import Dataset
    from ml.gate import Check

CARDS: Final = REPO_ROOT / "tests" / "data" / "card_transactions.csv.gz"
FEWER_TREES: Final = 50


def main() -> None:
    """Measure and print seconds, CPU seconds and peak memory.

    Raises:
        SystemExit: the checks with a cache are others.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=CARDS)
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--risk", default="", help="entities whose history the candidate reads, such as terminal")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    entities = entities_of(options.risk)
    whole = card_rows(options.data, options.mapping, 1, None)(DetectionConfig(), None, entities)
    pair = [contender(whole, entities, None), contender(whole, (), FEWER_TREES)]
    print(f"{len(whole):,} rows, {core_in_use()} core")  # noqa: T201

    def gate(cache: Path | None) -> list[Check]:
        rows = card_rows(options.data, options.mapping, 1, cache)(DetectionConfig(), None, entities)
        candidate, champion = measure_together(rows, pair, DetectionConfig())
        return compare(candidate, champion, GateBounds())

    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder)
            cases = ("without a cache", None), ("empty cache", cache), ("full cache", cache)
            found = [timed(what, partial(gate, where))[0] for what, where in cases]
        if not found[0] == found[1] == found[2]:
            raise SystemExit("the checks differ")


def contender(rows: Dataset, entities: tuple[Entity, ...], trees: int | None) -> Contender:
    """Train boosted trees and return them with the time of their last row."""
    parameters = TrainingParameters(ModelFamily.GRADIENT_BOOSTING.value, risk_entities=entities)
    if trees is not None:
        parameters = replace(parameters, n_estimators=trees)
    trained = train_model(rows, parameters, Provenance("cards", None, "gate_speed", datetime.now(UTC)))
    model = build_model(trained.manifest, trained.arrays, OFFLINE_FEATURES)
    return Contender(model, trained.manifest.training_data.last_event_time_ms)


if __name__ == "__main__":
    main()
