"""A case of the fault matrix, and the result of running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.traffic.balance import Balance
    from tests.lab.faults.trial import Trial


class CaseStatus(StrEnum):
    """Result of a case."""

    HOLDS = "holds"
    FAILS = "FAILS"
    LEFT_OUT = "not run"
    """The machine cannot run the case; the result contains the reason."""


@dataclass(frozen=True, slots=True)
class FaultCase:
    """One fault.

    Attributes:
        name: name on the command line.
        fault: description of the fault.
        expected: expected behaviour, besides a reconciled ledger.
        run: causes the fault and reports every failed expectation to the trial.
        obstacle: returns the reason why this machine cannot run the case, or None if it can.
    """

    name: str
    fault: str
    expected: str
    run: Callable[[Trial], None]
    obstacle: Callable[[], str | None] = lambda: None


@dataclass(slots=True)
class LedgerCounts:
    """Ledger counts from one source: Kafka's committed output, or Postgres."""

    decided: int = 0
    rejected: int = 0
    duplicates: int = 0
    missing: int = 0
    repeated: int = 0
    holds: bool = False

    @classmethod
    def of(cls, balance: Balance) -> LedgerCounts:
        """Return the counts of a reconciled ledger."""
        return cls(
            balance.decided,
            balance.rejected,
            balance.duplicates,
            len(balance.missing),
            len(balance.repeated) + balance.repeated_transactions,
            balance.is_as_expected,
        )


@dataclass(slots=True)
class CaseResult:
    """Result of one run of a case.

    Attributes:
        recovery_s: seconds from the fault (or from its end, if it lasts) to the end of the first checkpoint that began
            after it; None if nothing had to recover.
        restarts: number of restarts of both jobs during the case.
        histories: number of decisions whose features were compared with those of an undisturbed evaluator.
        problems: failed expectations; the case holds if there are none.
    """

    name: str
    fault: str
    expected: str
    status: CaseStatus = CaseStatus.FAILS
    happened: list[str] = field(default_factory=list)
    recovery_s: float | None = None
    restarts: int = 0
    sent: int = 0
    kafka: LedgerCounts = field(default_factory=LedgerCounts)
    postgres: LedgerCounts = field(default_factory=LedgerCounts)
    incidents: int = 0
    degraded: int = 0
    histories: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    seed: int = 0
    when: str = ""
    commit: str = ""
