"""One model in use under a role: the interface of a model, and the handling of its faults."""

from collections.abc import Callable
from enum import StrEnum
from math import isfinite
from typing import Any, Final, NamedTuple, Protocol

from flink_jobs.core.decision import Opinion
from flink_jobs.core.documents import Variant
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.breaker import FaultBreaker
from flink_jobs.core.models.faults import InputsNotReady, ModelFault
from flink_jobs.core.probability import ProbabilityCurve
from flink_jobs.core.scoring import OwnBlend
from flink_jobs.core.transaction import Transaction

FAULT_LIMIT: Final = 5
FAULT_WINDOW: Final = 1_000
"""A model is disabled after ``FAULT_LIMIT`` faults within ``FAULT_WINDOW`` scores."""
SLOW_LIMIT: Final = 8
SLOW_WINDOW: Final = 10
"""A model is disabled after ``SLOW_LIMIT`` scores over the time budget within ``SLOW_WINDOW`` timed scores. A pause of
the machine delays one or two scores in a row, not eight of ten."""
NO_OPINION: Final = Opinion()
TIMED_EVERY: Final = 64
"""One score in ``TIMED_EVERY`` is timed. After a slow score, each of the next ``SLOW_WINDOW`` scores is timed."""


class Model(Protocol):
    """The interface of a model of any family."""

    @property
    def version(self) -> str:
        """Name of the model version."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its arrays; distinguishes two models with the same version name."""

    @property
    def kind(self) -> str:
        """Model family, such as ``isolation_forest``."""

    @property
    def base(self) -> float:
        """Score at the mean of the training rows, 0 to 1, where the contributions start."""

    @property
    def own_blend(self) -> OwnBlend | None:
        """The ``alpha`` and the threshold that were chosen with it; ``None`` if it has none."""

    @property
    def probability(self) -> ProbabilityCurve | None:
        """The curve from the blended score to the probability of fraud; ``None`` if it has none."""

    def score(self, features: FeatureVector, transaction: Transaction) -> float:
        """Return the score of a transaction, 0 to 1; higher is more suspicious. Pure; called for every event."""

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:
        """Return each feature's contribution; ``base`` plus all contributions is the score. Called for alerts only."""


class Role(StrEnum):
    """The role of a model in the job."""

    CHAMPION = "champion"
    SHADOW = "shadow"
    CHALLENGER = "challenger"


class Notice(NamedTuple):
    """A model fault in the running job, to be counted and reported.

    Attributes:
        role: role of the model.
        version: version of the model.
        fault: kind of the fault.
        detail: description for a person; contains no card data.
        is_cut_off: whether the model is disabled from now on.
    """

    role: Role
    version: str
    fault: ModelFault
    detail: str
    is_cut_off: bool


class Slot:
    """A model in use under a role; it scores with the model, and disables the model after repeated faults."""

    def __init__(
        self,
        role: Role,
        model: Model | None,
        notify: Callable[[Notice], None],
        clock_ns: Callable[[], int],
        budget_ns: int,
    ) -> None:
        """Use a model under a role.

        Args:
            role: role of the model.
            model: the model; with ``None`` the slot returns no scores.
            notify: receives a notice for each fault.
            clock_ns: a stopwatch, nanoseconds.
            budget_ns: maximum time of one score, nanoseconds.
        """
        self.role = role
        self.model = model
        self.own_blend: OwnBlend | None = None if model is None else model.own_blend
        self.probability: ProbabilityCurve | None = None if model is None else model.probability
        self._variant = Variant.CHALLENGER if role is Role.CHALLENGER else Variant.CHAMPION
        self._notify = notify
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
        # Typed as ``Any``: a faulty model returns anything, and compiled code would check the type of the method.
        ask: Callable[[FeatureVector, Transaction], Any] = model.score
        try:
            score = float(ask(features, transaction))
        except InputsNotReady:
            return None
        except Exception as error:  # noqa: BLE001 - no exception of a model may lose an event
            self._fault(model, ModelFault.RAISED, f"scoring raised {type(error).__name__}")
            return None
        if is_timed:
            self._time(model, self._clock_ns() - started_ns)
        if 0.0 <= score <= 1.0:  # NaN is not
            return score
        self._fault(model, ModelFault.BAD_SCORE, f"the score {score!r} is not a number from 0 to 1")
        return None

    def opinion(self, features: FeatureVector, transaction: Transaction) -> Opinion:
        """Return the score with the model's version; an opinion without a score when there is no model or it failed."""
        model = self.model
        score = self.score(features, transaction)
        if model is None or score is None:
            return NO_OPINION
        return Opinion(score, model.version, self._variant)

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float] | None:
        """Return each feature's contribution to the score, or ``None`` when there is no model or it failed."""
        model = self.model
        if model is None:
            return None
        try:
            shares = {name: float(share) for name, share in model.contributions(features, transaction).items()}
        except Exception as error:  # noqa: BLE001 - as above
            self._fault(model, ModelFault.RAISED, f"the explanation raised {type(error).__name__}")
            return None
        if isfinite(sum(shares.values())):
            return shares
        self._fault(model, ModelFault.BAD_SCORE, "the explanation holds a value that is not a finite number")
        return None

    def _fault(self, model: Model, fault: ModelFault, detail: str) -> None:
        self._report(model, fault, detail, is_cut_off=self._faults.fault(self._uses))

    def _time(self, model: Model, elapsed_ns: int) -> None:
        """Check the time of a score; after a slow score, time each of the next ``SLOW_WINDOW`` scores."""
        self._timed += 1
        if elapsed_ns > self._budget_ns:
            self._timed_closely_until = self._timed + SLOW_WINDOW
            detail = f"a score took {elapsed_ns / 1e6:.1f} ms; at most {self._budget_ns / 1e6:g} ms are allowed"
            self._report(model, ModelFault.TOO_SLOW, detail, is_cut_off=self._slow.fault(self._timed))
        closely = self._timed < self._timed_closely_until
        self._timed_at = self._uses + (1 if closely else TIMED_EVERY)

    def _report(self, model: Model, fault: ModelFault, detail: str, *, is_cut_off: bool) -> None:
        if is_cut_off:
            self.model = None
        self._notify(Notice(self.role, model.version, fault, detail, is_cut_off))
