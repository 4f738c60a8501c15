"""The models of a running job: what each of them may decide, and what happens when one fails.

The champion decides. The challenger of an experiment decides for its share of the customers. The shadow is asked about
every transaction and decides nothing. A model that raises, answers something that is no score, or takes too long costs
a decision its model and never the event; after a few faults it is not asked any more (see ``model_slot``).
"""

from collections.abc import Callable

from flink_jobs.core.control.experiment import CustomerSplit, Experiment
from flink_jobs.core.decision import Opinion
from flink_jobs.core.documents import Variant
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.guard import ExperimentGuard
from flink_jobs.core.models.slot import Model, Notice, Role, Slot
from flink_jobs.core.transaction import Transaction

__all__ = ["Lineup", "Model", "Notice", "Role", "Slot"]


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

    def ask(self, features: FeatureVector, transaction: Transaction) -> tuple[Opinion, Slot, bool]:
        """Ask the model that decides for this customer; the champion stands in for a challenger that fails.

        Returns:
            What it says, the slot it works in (for an alert's contributions), and whether the customer belongs to the
            challenger's share. A plain tuple: this runs for every event.
        """
        champion, challenger, is_trial = self.champion, self.challenger, False
        if challenger is not None and self._is_in_experiment(transaction.customer_id):
            is_trial = True
            opinion = challenger.opinion(features, transaction)
            if opinion.ml_score is not None:
                return opinion, challenger, is_trial
        return champion.opinion(features, transaction), champion, is_trial

    def decided(self, opinion: Opinion, *, is_trial: bool, is_alert: bool) -> str | None:
        """Tell the guard of a decision while an experiment is on; return why it must end, if it must."""
        if not is_trial:
            self._guard.champion_decided(is_alert=is_alert)
            return None
        is_error = opinion.variant is Variant.CHAMPION
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
