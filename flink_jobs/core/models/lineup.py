"""The models of a running job, their roles, and what happens when a model fails.

The champion's scores decide. During an experiment, the challenger's scores decide for a share of the customers. The
shadow scores every transaction and decides nothing. When a model raises an exception, returns an invalid score or takes
too long, rules alone decide the transaction; no event is lost. After repeated faults a model is disabled (see
``slot``).
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
    """The models in use, and the running experiment."""

    def __init__(self, clock_ns: Callable[[], int] = lambda: 0, budget_ns: int = 0) -> None:
        """Start without models: every decision is degraded.

        Args:
            clock_ns: a stopwatch, nanoseconds. With the default, used in training and tests, no model is too slow.
            budget_ns: maximum time of one score, nanoseconds.
        """
        self._clock_ns = clock_ns
        self._budget_ns = budget_ns
        self._notices: list[Notice] = []
        self.champion = self._slot(Role.CHAMPION, None)
        self.shadow: Slot | None = None
        self.challenger: Slot | None = None
        self.experiment: Experiment | None = None

    def use_champion(self, model: Model | None) -> None:
        """Use a model as champion; ``None`` leaves the decisions to rules alone."""
        self.champion = self._slot(Role.CHAMPION, model)

    def use_shadow(self, model: Model | None) -> None:
        """Use a model as shadow beside the champion; ``None`` removes the shadow."""
        self.shadow = None if model is None else self._slot(Role.SHADOW, model)

    def use_challenger(self, model: Model | None, experiment: Experiment | None) -> None:
        """Start an experiment with a challenger; ``None`` for either argument ends the running experiment."""
        if model is None or experiment is None:
            self.challenger = self.experiment = None
            return
        self.challenger, self.experiment = self._slot(Role.CHALLENGER, model), experiment
        self._is_in_experiment = CustomerSplit(experiment.id, experiment.share).has
        self._guard = ExperimentGuard(experiment.guard)

    def ask(self, features: FeatureVector, transaction: Transaction) -> tuple[Opinion, Slot, bool]:
        """Score with the model that decides for this customer; the champion scores when the challenger fails.

        Returns:
            The opinion, the slot of the model that scored (for the contributions of an alert), and whether the customer
            belongs to the challenger's share. It is a plain tuple because this method runs for every event.
        """
        champion, challenger, is_trial = self.champion, self.challenger, False
        if challenger is not None and self._is_in_experiment(transaction.customer_id):
            is_trial = True
            opinion = challenger.opinion(features, transaction)
            if opinion.ml_score is not None:
                return opinion, challenger, is_trial
        return champion.opinion(features, transaction), champion, is_trial

    def decided(self, opinion: Opinion, *, is_trial: bool, is_alert: bool) -> str | None:
        """Pass a decision to the guard of the running experiment; return why the experiment must end, or ``None``."""
        if not is_trial:
            self._guard.champion_decided(is_alert=is_alert)
            return None
        is_error = opinion.variant is Variant.CHAMPION
        problem = self._guard.challenger_decided(is_alert=is_alert, is_error=is_error)
        if problem is None and self.challenger is not None and self.challenger.model is None:
            problem = "the challenger was disabled after repeated faults"
        return problem

    def take_notices(self) -> tuple[Notice, ...]:
        """Return the notices since the last call, and forget them; almost always empty."""
        if not self._notices:
            return ()
        notices = tuple(self._notices)
        self._notices.clear()
        return notices

    def _slot(self, role: Role, model: Model | None) -> Slot:
        return Slot(role, model, self._notices.append, self._clock_ns, self._budget_ns)
