"""The models of a running job: what each of them may decide, and what happens when one fails.

The champion decides. The challenger of an experiment decides for its share of the customers. The shadow is asked about
every transaction and decides nothing. A model that raises, answers something that is no score, or takes too long costs
a decision its model and never the event; after a few faults it is not asked any more (see ``model_slot``).
"""

from collections.abc import Callable
from typing import NamedTuple

from flink_jobs.core.decision import Variant
from flink_jobs.core.experiment import CustomerSplit, Experiment
from flink_jobs.core.features import FeatureVector
from flink_jobs.core.guard import ExperimentGuard
from flink_jobs.core.model_slot import Model, Notice, Role, Slot
from flink_jobs.core.transaction import Transaction

__all__ = ["Answer", "Lineup", "Model", "Notice", "Role", "Slot"]


class Answer(NamedTuple):
    """What the model that decides said of one transaction."""

    ml_score: float | None
    model_version: str | None
    """The model that answered, ``None`` when none did."""
    slot: Slot
    """Where it works; the alert's contributions come from there."""
    is_trial: bool
    """Whether the customer belongs to the challenger's share."""

    @property
    def variant(self) -> Variant:
        """Which model decides: the champion too where the challenger failed."""
        return Variant.CHALLENGER if self.slot.role is Role.CHALLENGER else Variant.CHAMPION


class Lineup:
    """The models at work, and the experiment that is on."""

    def __init__(self, clock_ns: Callable[[], int] = lambda: 0, budget_ns: int = 0) -> None:
        """Start with nobody: every decision is degraded.

        Args:
            clock_ns: a stopwatch in nanoseconds; the default never sees a slow model, as training and tests want it.
            budget_ns: longest time a score may take.
        """
        self._clock_ns = clock_ns
        self._budget_ns = budget_ns
        self._notices: list[Notice] = []
        self.champion = self._slot(Role.CHAMPION, None)
        self.shadow: Slot | None = None
        self.challenger: Slot | None = None
        self.experiment: Experiment | None = None

    def use_champion(self, model: Model | None) -> None:
        """Let a model decide."""
        self.champion = self._slot(Role.CHAMPION, model)

    def use_shadow(self, model: Model | None) -> None:
        """Ask a model beside the champion, or nobody any more."""
        self.shadow = None if model is None else self._slot(Role.SHADOW, model)

    def use_challenger(self, model: Model | None, experiment: Experiment | None) -> None:
        """Start an experiment with a model, or end the one that is on."""
        if model is None or experiment is None:
            self.challenger = self.experiment = None
            return
        self.challenger, self.experiment = self._slot(Role.CHALLENGER, model), experiment
        self._is_in_experiment = CustomerSplit(experiment.id, experiment.share).has
        self._guard = ExperimentGuard(experiment.guard)

    def ask(self, features: FeatureVector, transaction: Transaction) -> Answer:
        """Ask the model that decides for this customer; the champion stands in for a challenger that fails."""
        is_trial = False
        if self.challenger is not None and self._is_in_experiment(transaction.customer_id):
            is_trial = True
            answer = _ask(self.challenger, features, transaction, is_trial)
            if answer.ml_score is not None:
                return answer
        return _ask(self.champion, features, transaction, is_trial)

    def decided(self, answer: Answer, *, is_alert: bool) -> str | None:
        """Tell the guard of a decision while an experiment is on; return why it must end, if it must."""
        if not answer.is_trial:
            self._guard.champion_decided(is_alert=is_alert)
            return None
        is_error = answer.slot is self.champion
        problem = self._guard.challenger_decided(is_alert=is_alert, is_error=is_error)
        if problem is None and self.challenger is not None and self.challenger.model is None:
            problem = "the challenger was cut off because of its faults"
        return problem

    def take_notices(self) -> tuple[Notice, ...]:
        """Return what happened to the models since the last call; almost always nothing."""
        if not self._notices:
            return ()
        notices = tuple(self._notices)
        self._notices.clear()
        return notices

    def _slot(self, role: Role, model: Model | None) -> Slot:
        return Slot(role, model, self._notices.append, self._clock_ns, self._budget_ns)


def _ask(slot: Slot, features: FeatureVector, transaction: Transaction, is_trial: bool) -> Answer:  # noqa: FBT001 - hot
    model = slot.model
    score = slot.score(features, transaction)
    return Answer(score, None if score is None or model is None else model.version, slot, is_trial)
