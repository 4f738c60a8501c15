"""The models of a running job, and what each may decide."""

from typing import Protocol

from flink_jobs.core.features import FeatureVector
from flink_jobs.core.transaction import Transaction


class Model(Protocol):
    """What the stream needs of a model, whatever its family."""

    @property
    def version(self) -> str:
        """Name of the model version."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its arrays: what tells two models of one name apart."""

    @property
    def kind(self) -> str:
        """Model family, such as ``isolation_forest``."""

    @property
    def base(self) -> float:
        """Score before any feature is known, 0 to 1: where contributions start."""

    def score(self, features: FeatureVector, transaction: Transaction) -> float:
        """Return how suspicious the transaction is, 0 to 1. Pure; called for every event."""

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:
        """Return each feature's share of the score: ``base`` and these add up to it. For alerts only."""
