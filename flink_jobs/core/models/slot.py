"""One model at work: what the stream needs of a model, and what happens when it fails."""

from collections.abc import Callable
from enum import StrEnum
from math import isfinite
from typing import Final, NamedTuple, Protocol

from flink_jobs.core.decision import Opinion
from flink_jobs.core.documents import Variant
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.breaker import FaultBreaker
from flink_jobs.core.models.faults import ModelFault
from flink_jobs.core.transaction import Transaction

FAULT_LIMIT: Final = 5
FAULT_WINDOW: Final = 1_000
"""A model is cut off after this many faults within this many events."""
SLOW_LIMIT: Final = 8
SLOW_WINDOW: Final = 10
"""Likewise for timed scores over the budget: a pause of the machine hits one or two in a row, not eight of ten."""
NO_OPINION: Final = Opinion()
TIMED_EVERY: Final = 64
"""One score in so many is timed; after a slow one each of the next ``SLOW_WINDOW`` is."""


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


class Role(StrEnum):
    """What a model is there for."""

    CHAMPION = "champion"
    SHADOW = "shadow"
    CHALLENGER = "challenger"


class Notice(NamedTuple):
    """Something that happened to a model at work, to be counted and told."""

    role: Role
    version: str
    fault: ModelFault
    detail: str
    """For a person; holds no card data."""
    is_cut_off: bool
    """Whether the model is no longer asked from now on."""


class Slot:
    """One model at work under a role: asks it, and cuts it off when it fails too often."""

    def __init__(
        self,
        role: Role,
        model: Model | None,
        tell: Callable[[Notice], None],
        clock_ns: Callable[[], int],
        budget_ns: int,
    ) -> None:
        """Put a model to work; ``None`` is a slot that answers nothing.

        Args:
            role: what it is there for.
            model: the model.
            tell: hears of what happens to it.
            clock_ns: a stopwatch, nanoseconds.
            budget_ns: longest time a score may take.
        """
        self.role = role
        self.model = model
        self._variant = Variant.CHALLENGER if role is Role.CHALLENGER else Variant.CHAMPION
        self._notify = tell
        self._clock_ns = clock_ns
        self._budget_ns = budget_ns
        self._uses = 0
        self._timed_at = 1
        self._faults = FaultBreaker(FAULT_LIMIT, FAULT_WINDOW)
        self._slow = FaultBreaker(SLOW_LIMIT, SLOW_WINDOW)
        self._timed = 0
        self._timed_closely_until = 0

    def score(self, features: FeatureVector, transaction: Transaction) -> float | None:
        """Return the model's score, 0 to 1, or ``None`` when there is no model or it failed."""
        model = self.model
        if model is None:
            return None
        self._uses += 1
        is_timed = self._uses >= self._timed_at
        started_ns = self._clock_ns() if is_timed else 0
        try:
            score = float(model.score(features, transaction))
        except Exception as error:  # noqa: BLE001 - whatever a model does, the event is decided
            self._fault(model, ModelFault.RAISED, f"it raised {type(error).__name__}")
            return None
        if is_timed:
            self._time(model, self._clock_ns() - started_ns)
        if 0.0 <= score <= 1.0:  # NaN is not
            return score
        self._fault(model, ModelFault.BAD_SCORE, f"it answered {score!r}, which is no score from 0 to 1")
        return None

    def opinion(self, features: FeatureVector, transaction: Transaction) -> Opinion:
        """Return the score under the model's name; an opinion without a score where there is no model or it failed."""
        model = self.model
        score = self.score(features, transaction)
        if model is None or score is None:
            return NO_OPINION
        return Opinion(score, model.version, self._variant)

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float] | None:
        """Return each feature's share of the score, or ``None`` when there is no model or it failed."""
        model = self.model
        if model is None:
            return None
        try:
            shares = {name: float(share) for name, share in model.contributions(features, transaction).items()}
        except Exception as error:  # noqa: BLE001 - as above
            self._fault(model, ModelFault.RAISED, f"its explanation raised {type(error).__name__}")
            return None
        if isfinite(sum(shares.values())):
            return shares
        self._fault(model, ModelFault.BAD_SCORE, "its explanation holds something that is no number")
        return None

    def _fault(self, model: Model, fault: ModelFault, detail: str) -> None:
        self._tell(model, fault, detail, is_cut_off=self._faults.fault(self._uses))

    def _time(self, model: Model, elapsed_ns: int) -> None:
        """Take in how long a score took; after a slow one, look at the next ones too."""
        self._timed += 1
        if elapsed_ns > self._budget_ns:
            self._timed_closely_until = self._timed + SLOW_WINDOW
            detail = f"a score took {elapsed_ns / 1e6:.1f} ms, and {self._budget_ns / 1e6:g} ms are allowed"
            self._tell(model, ModelFault.TOO_SLOW, detail, is_cut_off=self._slow.fault(self._timed))
        closely = self._timed < self._timed_closely_until
        self._timed_at = self._uses + (1 if closely else TIMED_EVERY)

    def _tell(self, model: Model, fault: ModelFault, detail: str, *, is_cut_off: bool) -> None:
        if is_cut_off:
            self.model = None
        self._notify(Notice(self.role, model.version, fault, detail, is_cut_off))
