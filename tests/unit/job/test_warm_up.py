"""The warm-up runs the whole evaluator and keeps nothing."""

from __future__ import annotations

from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.transaction import Transaction
from flink_jobs.job.detector import warm_up
from tests.unit.job.samples import detector


class CountingModel:
    """Counts its scores and its contributions."""

    version, digest, kind, base, own_blend, probability = "m-1", "d" * 64, "fixed", 0.5, None, None

    def __init__(self) -> None:
        self.scores = self.explained = 0

    def score(self, features: FeatureVector, transaction: Transaction) -> float:  # noqa: ARG002
        self.scores += 1
        return 0.5

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:  # noqa: ARG002
        self.explained += 1
        return {}


def test_it_scores_and_explains() -> None:
    model = CountingModel()
    done = warm_up.warm_up(model)
    assert 0 < done <= warm_up.EVALUATIONS
    assert model.scores == model.explained == done


def test_nothing_of_it_is_stored_or_counted() -> None:
    operator = detector()
    assert operator.state.writes == 0
    operator.function._metrics.flush(0)
    assert operator.runtime.count("decisions") == 0
    assert operator.runtime.count("alerts") == 0
