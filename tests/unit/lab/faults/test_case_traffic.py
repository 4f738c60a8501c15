"""The traffic cases on the pure evaluator: the detector does what each case expects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson
import pytest

from flink_jobs.core.documents import DecisionDocument
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.kafka.outgoing import Outgoing
from flink_jobs.traffic.balance import Balance, balance
from flink_jobs.traffic.outcomes import Outcomes
from tests.lab.faults import cases_traffic
from tests.lab.faults.fault_case import CaseResult, FaultCase
from tests.lab.faults.system_under_test import Pair
from tests.lab.faults.trial import Trial

REHEARSED = [case for case in cases_traffic.CASES if case.name != "idle-partition"]
TOPIC = "rehearsal.transactions"


class FakeSystem:
    """Replaces the system under test by one pair of jobs, which is the evaluator."""

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        yield Pair("rehearsal", "detect", "archive")

    def restarts(self, _pair: Pair, _since_ms: float) -> int:
        return 0


class Rehearsal(Trial):
    """A trial that passes its records directly to the evaluator."""

    def on(self, pair: Pair) -> None:
        self.pair = pair
        self._evaluator, self._states = TransactionEvaluator(), dict[str, bytes]()
        self._outcomes = Outcomes(self.ledger, TOPIC)
        self._decisions: list[dict[str, Any]] = []

    def send(self, records: Iterable[Outgoing], rate: float | None = None) -> None:
        assert rate is None
        for offset, record in enumerate(records):
            self.enter(record, 0, offset)
            self._answer(record, offset)

    def _answer(self, record: Outgoing, offset: int) -> None:
        customer = customer_of(record.value)
        line = SourceRecord(record.value, 0, offset, "", "", customer, TOPIC)
        outcome = self._evaluator.evaluate(line, lambda: self._states.get(customer), time.time_ns() // 1_000_000)
        if outcome.state is not None:
            self._states[customer] = outcome.state
        if outcome.decision is not None:
            self._decisions.append(orjson.loads(outcome.decision))
            self._outcomes.add_decision(cast("DecisionDocument", self._decisions[-1]))
        if outcome.alert is not None:
            self._outcomes.add_alert(orjson.loads(outcome.alert))
        for letter in outcome.letters:
            self._outcomes.add_letter(orjson.loads(letter.body))

    def settle(self, *, histories: bool = True) -> Balance:
        account = balance(self.ledger, self._outcomes)
        assert account.is_as_expected, "\n".join(account.lines())
        if histories:
            self._compare_histories()
        return account

    def documents(self, suffix: str) -> list[dict[str, Any]]:
        assert suffix == "decisions"
        return self._decisions


def customer_of(value: bytes | None) -> str:
    """Return the key by which the source would route the record."""
    try:
        found = orjson.loads(value or b"")["customer_id"]
    except (ValueError, KeyError, TypeError):
        return "unroutable"
    return found if isinstance(found, str) else "unroutable"


def rehearse(run: Callable[[Trial], None], case: FaultCase, seed: int) -> CaseResult:
    result = CaseResult(case.name, case.fault, case.expected, seed=seed)
    run(Rehearsal(FakeSystem(), result))  # type: ignore[arg-type]  # it has all that these cases use
    return result


@pytest.mark.parametrize("case", REHEARSED, ids=lambda case: case.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_detector_does_what_the_case_expects(case: FaultCase, seed: int) -> None:
    result = rehearse(case.run, case, seed)
    assert result.problems == []
    assert result.histories > 0


def test_a_case_whose_expectation_does_not_hold_has_a_problem() -> None:
    def in_vain(trial: Trial) -> None:
        with trial.system.pair() as pair:
            trial.on(pair)
            trial.expect(trial.documents("decisions"), "there are decisions")
            trial.expect_restarts(1, 2)

    result = rehearse(in_vain, REHEARSED[0], 1)
    assert result.problems == ["failed: there are decisions", "failed: 1 to 2 restarts (observed: 0)"]
