"""Backtests a proposal on recorded decisions: which alerts it would have raised, compared with the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from ml.backtest.backtest import Setup, backtest_decisions
from ml.backtest.comparison import AlertCount
from ml.backtest.rule_set import RuleSetChanges
from ml.history.configurations import read_configurations
from ml.history.connection import warehouse
from ml.history.decisions import Period, RecordedDecision, measure_period, read_decisions

DAY_MS: Final = 86_400_000
MOST_DECISIONS: Final = 2_000_000
_NEWEST: Final = "SELECT max(event_time_ms) AS newest FROM raw.decisions"
Progress = Callable[[int, int], None]


def backtest(settings: Settings, request: dict[str, Any], _: str, progress: Progress) -> dict[str, Any]:
    """Return the comparison of the days before the newest decision, in event time.

    Raises:
        UserError: there is no decision in these days, or too many, or the control audit is incomplete.
    """
    setup = Setup(RuleSetChanges(request["changes"], "the proposal"))
    with warehouse(settings.postgres_dsn_as("api")) as connection:
        row = connection.execute(_NEWEST).fetchone()
        newest = row["newest"] if row else None
        if newest is None:
            raise UserError("no decision is stored", "start the archive job")
        period = Period(since_ms=newest - request["days"] * DAY_MS, until_ms=newest + 1)
        count = measure_period(connection, period).decisions
        if count > MOST_DECISIONS:
            raise UserError(
                f"these days have {count:,} decisions; the limit is {MOST_DECISIONS:,}",
                "choose fewer days, or use `streamflow backtest`",
            )
        decisions = _counted(read_decisions(connection, period), count, progress)
        found = backtest_decisions(decisions, read_configurations(connection), setup)
    codes = sorted({*found.rules_before, *found.rules_after})
    return {
        "days": request["days"],
        "decisions": found.decisions,
        "labelled": found.labelled,
        "frauds": found.frauds,
        "alerts": {name: _count(getattr(found, name)) for name in ("before", "after", "gained", "lost")},
        "rules": {
            code.value: {"before": _count(found.rules_before.get(code)), "after": _count(found.rules_after.get(code))}
            for code in codes
        },
    }


def _counted(decisions: Iterable[RecordedDecision], total: int, progress: Progress) -> Iterator[RecordedDecision]:
    for number, decision in enumerate(decisions, 1):
        yield decision
        progress(number, total)


def _count(count: AlertCount | None) -> dict[str, Any]:
    found = count or AlertCount()
    return {**asdict(found), "precision": found.precision}
