"""The redrive status of dead letters: whether one can be redriven, whether it was, and with which outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.core.dead_letters.policies import RedriveMethod, policy_of
from flink_jobs.core.dead_letters.redrive import is_parked, parent_of, place_of
from flink_jobs.dead_letters.redrive_audit import RedriveAttempt, RedriveHistories, open_redrives
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.dead_letters.redrive_audit import RedriveStore
    from flink_jobs.settings import Settings


class AttemptResult(NamedTuple):
    """One redrive of a dead letter, and its result in words."""

    attempt: RedriveAttempt
    result: str


@dataclass(frozen=True, slots=True)
class RedriveStatuses:
    """Reads the status of dead letters from the audit, or without the audit from the dead letters alone."""

    limit: int
    """Number of replays after which a dead letter is parked."""
    histories: RedriveHistories = field(default_factory=RedriveHistories)
    dsn: str | None = None
    """Connection string of the audit; None: the database does not answer."""

    def status(self, letter: DeadLetterDocument) -> str:
        """Return the status of a dead letter: ``never``, ``done``, ``parked`` or ``open``."""
        history = self.histories.of(letter)
        if policy_of(letter).method is RedriveMethod.NEVER:
            return "never"
        if history.is_done:
            return "done"
        return "parked" if is_parked(letter, self.limit, history) else "open"

    def attempts(self, letter: DeadLetterDocument, letters: Iterable[DeadLetterDocument]) -> list[AttemptResult]:
        """Return the redrives of a dead letter with their results, newest first.

        Args:
            letter: the dead letter.
            letters: all dead letters: one of them may be about the redriven record.
        """
        if self.dsn is None:
            return []
        rejection = {parent_of(other): other for other in letters}.get(letter["dlq_id"])
        with open_redrives(self.dsn) as store:
            return [
                AttemptResult(attempt, _result(attempt, rejection, store))
                for attempt in store.attempts(letter["dlq_id"])
            ]


def policy_text(letter: DeadLetterDocument) -> str:
    """Return the redrive method of a dead letter's reason, and why it is that one."""
    method, why = policy_of(letter)
    return f"{method.value}: {why}"


def open_statuses(settings: Settings, say: Callable[[str], None]) -> RedriveStatuses:
    """Read the audit; if the database does not answer, report that and return the statuses without the audit."""
    try:
        with open_redrives(settings.postgres_dsn) as store:
            return RedriveStatuses(settings.replay_limit, store.histories(), settings.postgres_dsn)
    except UserError as problem:
        say(f"The redrive status is incomplete: {problem.what}.")
        return RedriveStatuses(settings.replay_limit)


def _result(attempt: RedriveAttempt, rejection: DeadLetterDocument | None, store: RedriveStore) -> str:
    if attempt.outcome == "started":
        return "interrupted; the next redrive finds out whether the record was sent"
    if attempt.outcome != "sent" or attempt.sent_partition is None or attempt.sent_offset is None:
        return attempt.outcome + (f": {attempt.detail}" if attempt.detail else "")
    coordinates = f"{attempt.source_topic}-{attempt.sent_partition}@{attempt.sent_offset}"
    sent = f"sent as {coordinates}"
    if rejection is not None and place_of(rejection) == coordinates:
        return f"{sent}, rejected again as {rejection['dlq_id']}: {rejection['reason']}"
    decision = store.decision_at(attempt)
    if decision is None:
        return f"{sent}, no outcome in Postgres yet"
    verdict = "an alert" if decision.is_alert else "no alert"
    return f"{sent}, decided: score {decision.score:.2f}, {verdict}"
