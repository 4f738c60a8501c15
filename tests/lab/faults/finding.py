"""A case of the matrix, and what was found when it was run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.traffic.balance import Balance
    from tests.lab.faults.trial import Trial


class Status(StrEnum):
    """How a case ended."""

    HOLDS = "holds"
    FAILS = "FAILS"
    LEFT_OUT = "not run"
    """It cannot be done on this machine; the finding says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault.

    Attributes:
        name: on the command line.
        fault: what is done, in words.
        expected: what must follow, besides the account.
        run: does it; whatever does not hold is told to the trial.
        obstacle: why it cannot be done here, None when it can.
    """

    name: str
    fault: str
    expected: str
    run: Callable[[Trial], None]
    obstacle: Callable[[], str | None] = lambda: None


@dataclass(slots=True)
class Counts:
    """The account of one place: Kafka's committed output, or Postgres."""

    decided: int = 0
    rejected: int = 0
    duplicates: int = 0
    missing: int = 0
    repeated: int = 0
    holds: bool = False

    @classmethod
    def of(cls, balance: Balance) -> Counts:
        """Take the numbers out of an account."""
        return cls(
            balance.decided,
            balance.rejected,
            balance.duplicates,
            len(balance.missing),
            len(balance.repeated) + balance.repeated_transactions + balance.alerts_repeated,
            balance.is_as_expected,
        )


@dataclass(slots=True)
class Finding:
    """What one run of a case showed.

    Attributes:
        recovery_s: from the fault (or its end, where the case lets it last) to the end of the first checkpoint that
            began after it; None where nothing had to recover.
        restarts: how often Flink restarted a job meanwhile.
        histories: decisions whose features were compared with those of an undisturbed evaluator.
        problems: everything that did not hold; empty means the case holds.
    """

    name: str
    fault: str
    expected: str
    status: Status = Status.FAILS
    happened: list[str] = field(default_factory=list)
    recovery_s: float | None = None
    restarts: int = 0
    sent: int = 0
    kafka: Counts = field(default_factory=Counts)
    postgres: Counts = field(default_factory=Counts)
    incidents: int = 0
    degraded: int = 0
    histories: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    seed: int = 0
    when: str = ""
    commit: str = ""
