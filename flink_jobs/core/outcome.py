"""The outcome of one record: what the step gives back to its caller."""

from enum import StrEnum
from typing import NamedTuple

from flink_jobs.core.control.experiment import Experiment
from flink_jobs.core.documents import Variant
from flink_jobs.core.models.lineup import Notice
from flink_jobs.core.reasons import DeadLetterReason, Disposition, ReasonCode


class DeadLetter(NamedTuple):
    """An encoded dead letter, and the labels under which the metrics count it."""

    disposition: Disposition
    reason: DeadLetterReason
    id: str
    """The ``dlq_id``, also the message key."""
    body: str


class ActionOutcome(StrEnum):
    """What became of a record with an action on an account."""

    APPLIED = "applied"
    OUTDATED = "outdated"
    """It came before, or a newer action came before it: nothing changed."""
    REJECTED = "rejected"


class StoppedExperiment(NamedTuple):
    """An experiment that its guard has just stopped in this subtask."""

    experiment: Experiment
    why: str


class Outcome(NamedTuple):
    """The outcome of one record: either ``decision`` is set, or ``letters`` ends with the record's own dead letter.

    The outcome of an action on an account has ``account_action`` instead.
    """

    state: bytes | None = None
    """The customer's new state; ``None`` leaves the stored state unchanged. Empty if ``RecentStates`` is deferred."""
    decision: str | None = None
    alert: str | None = None
    letters: tuple[DeadLetter, ...] = ()
    customer_id: str = ""
    score: float = 0.0
    out_of_order_ms: int = 0
    reasons: tuple[ReasonCode, ...] = ()
    is_degraded: bool = False
    """Scored without a model."""
    variant: Variant = Variant.CHAMPION
    is_shadow_alert: bool | None = None
    """Whether the shadow model would have made an alert; ``None`` without a score of a shadow model."""
    notices: tuple[Notice, ...] = ()
    """Model faults during this step."""
    stopped: StoppedExperiment | None = None
    account_action: ActionOutcome | None = None
