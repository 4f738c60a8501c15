"""How a letter stands: may it be redriven, was it, and what came of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flink_jobs.core.dead_letters.policies import RedriveMethod, policy_of
from flink_jobs.core.dead_letters.redrive import is_parked, parent_of, place_of
from flink_jobs.dead_letters.redrive_audit import History, open_redrives
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flink_jobs.core.documents import DeadLetterDocument
    from flink_jobs.dead_letters.redrive_audit import RedriveStore
    from flink_jobs.settings import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """The audit as far as it can be read; without it, what the letters themselves say."""

    limit: int
    history: History = field(default_factory=History)
    dsn: str | None = None
    """None: the database does not answer."""

    def word(self, letter: DeadLetterDocument) -> str:
        """Return how a letter stands, in a word: never, done, parked or open."""
        past = self.history.of(letter)
        if policy_of(letter).method is RedriveMethod.NEVER:
            return "never"
        if past.is_done:
            return "done"
        return "parked" if is_parked(letter, self.limit, past) else "open"

    @staticmethod
    def policy(letter: DeadLetterDocument) -> str:
        """Return in which way a letter's reason may be redriven, and why."""
        way, why = policy_of(letter)
        return f"{way.value}: {why}"

    def story(self, letter: DeadLetterDocument, letters: Iterable[DeadLetterDocument]) -> list[dict[str, Any]]:
        """Return the redrives of a letter, newest first, each with what it became.

        Args:
            letter: the letter.
            letters: all of them: one may be what came back.
        """
        if self.dsn is None:
            return []
        came_back = {parent_of(other): other for other in letters}.get(letter["dlq_id"])
        with open_redrives(self.dsn) as store:
            return [
                {**attempt, "became": became(attempt, came_back, store)} for attempt in store.attempts(letter["dlq_id"])
            ]


def became(attempt: dict[str, Any], came_back: DeadLetterDocument | None, store: RedriveStore) -> str:
    """Return what came of one attempt, in words."""
    outcome = str(attempt["outcome"])
    if outcome == "started":
        return "cut short; the next redrive finds out whether it was sent"
    if outcome != "sent":
        return outcome + (f": {attempt['detail']}" if attempt["detail"] else "")
    place = (attempt["source_topic"], attempt["sent_partition"], attempt["sent_offset"])
    where = f"sent as {place[0]}-{place[1]}@{place[2]}"
    if came_back is not None and place_of(came_back) == where.removeprefix("sent as "):
        return f"{where}, dead-lettered again as {came_back['dlq_id']}: {came_back['reason']}"
    decision = store.decision_at(*place, attempt["started_at"])
    if decision is None:
        return f"{where}, no outcome in Postgres yet"
    verdict = "an alert" if decision["is_alert"] else "no alert"
    return f"{where}, decided: score {decision['score']:.2f}, {verdict}"


def open_standing(settings: Settings, say: Callable[[str], None]) -> Standing:
    """Read the audit; where the database does not answer, say so and go on without it."""
    try:
        with open_redrives(settings.postgres_dsn) as store:
            return Standing(settings.replay_limit, store.history(), settings.postgres_dsn)
    except UserError as problem:
        say(f"Whether letters were redriven is not known: {problem.what}.")
        return Standing(settings.replay_limit)
