"""Models in use: which model decides, what a model fault costs, and when a model is disabled."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.experiment import CustomerSplit, Experiment, GuardBand
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import ModelFault
from flink_jobs.core.models.lineup import Lineup, Role
from flink_jobs.core.models.slot import FAULT_LIMIT, FAULT_WINDOW, SLOW_LIMIT, TIMED_EVERY
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.transaction import Transaction
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.evaluation import FixedModel, Stream, parts

BUDGET_NS = 5_000_000
BAND = GuardBand(min_decisions=20, max_alert_rate_ratio=2.0, min_alert_rate_ratio=0.5, max_error_share=0.1)
TRIAL = Experiment("spring", "challenger-1", "c" * 64, 0.5, BAND)
INSIDE = CustomerSplit(TRIAL.id, TRIAL.share).has

FEATURES = FeatureVector(0.0, 1.0, None, None, 0.0, None)
TRANSACTION = Transaction("t-1", "c-1", 100, "USD", NOW_MS)


class SlowModel(FixedModel):
    """A model that advances the given clock with every score."""

    def __init__(self, tick: Callable[[int], None], took_ns: int) -> None:
        super().__init__(0.5)
        self._tick, self.took_ns = tick, took_ns

    def score(self, features: FeatureVector, transaction: Transaction) -> float:
        self._tick(self.took_ns)
        return super().score(features, transaction)


class Watch:
    """A stopwatch that only ``tick`` advances."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        return self.now_ns

    def tick(self, by_ns: int) -> None:
        self.now_ns += by_ns


def customers() -> Iterator[str]:
    return (f"c-{number}" for number in range(10**9))


class Case:
    """An evaluator with models, fed one customer after the other."""

    def __init__(self, lineup: Lineup | None = None, config: DetectionConfig | None = None) -> None:
        self.lineup = lineup or Lineup()
        self.stream = Stream(TransactionEvaluator(config or DetectionConfig(alpha=1.0), lineup=self.lineup))
        self._customers = customers()

    def send(self, customer: str | None = None) -> Outcome:
        customer = customer or next(self._customers)
        fields = {
            "transaction_id": f"t-{customer}-{len(self.stream.states)}", "customer_id": customer, "amount_minor": 100,
            "currency": "USD", "event_time_ms": NOW_MS,
        }  # fmt: skip
        return self.stream.send(record_of(wire(fields), customer))

    def decide(self, customer: str | None = None) -> dict[str, Any]:
        decision, _, _ = parts(self.send(customer))
        assert decision is not None
        return decision


def named(model: FixedModel, version: str) -> FixedModel:
    model.version = version
    return model


def reasons(outcome: Outcome) -> list[str]:
    return [letter.reason.value for letter in outcome.letters]


FAULTS = {
    "raises": (RuntimeError("secret 4111"), ModelFault.RAISED, "scoring raised RuntimeError"),
    "not a number": (math.nan, ModelFault.BAD_SCORE, "the score nan is not a number from 0 to 1"),
    "infinite": (math.inf, ModelFault.BAD_SCORE, "the score inf is not"),
    "above one": (1.5, ModelFault.BAD_SCORE, "the score 1.5 is not"),
    "below zero": (-0.1, ModelFault.BAD_SCORE, "the score -0.1 is not"),
    "words": ("much", ModelFault.RAISED, "scoring raised ValueError"),
    "nothing": (None, ModelFault.RAISED, "scoring raised TypeError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_champion_that_fails_costs_its_score_and_is_disabled_once(fault: str) -> None:
    answer, reason, detail = FAULTS[fault]
    case = Case()
    model = FixedModel(answer)  # type: ignore[arg-type]  # faults that a real model can have
    case.lineup.use_champion(model)

    outcomes = [case.send() for _ in range(FAULT_LIMIT + 3)]

    decisions = [parts(outcome)[0] for outcome in outcomes]
    assert all(item is not None and item["model"] == "degraded" and item["ml_score"] is None for item in decisions)
    assert all(outcome.is_degraded for outcome in outcomes)
    assert [reasons(outcome) for outcome in outcomes] == [
        ["MODEL_CUT_OFF"] if number == FAULT_LIMIT else [] for number in range(1, FAULT_LIMIT + 4)
    ]
    assert len(model.seen) == FAULT_LIMIT, "then it is disabled"
    notices = [notice for outcome in outcomes for notice in outcome.notices]
    assert [notice.is_cut_off for notice in notices] == [False] * (FAULT_LIMIT - 1) + [True]
    assert {(notice.role, notice.version, notice.fault) for notice in notices} == {(Role.CHAMPION, "if-test", reason)}
    _, _, (letter,) = parts(outcomes[FAULT_LIMIT - 1])
    assert letter["disposition"] == "incident"
    assert detail in letter["detail"]
    assert "4111" not in letter["detail"], "the message of an exception may quote card data"


def test_rare_faults_are_counted_and_do_not_disable_a_model() -> None:
    case, model = Case(), FixedModel(0.5)
    case.lineup.use_champion(model)
    for _ in range(FAULT_LIMIT * 2):
        model.answer = math.nan
        assert case.decide()["model"] == "degraded"
        model.answer = 0.5
        for _ in range(FAULT_WINDOW // (FAULT_LIMIT - 1)):
            case.lineup.champion.score(FEATURES, TRANSACTION)
        assert case.decide()["model"] == "ok"


def test_a_disabled_model_is_used_again_when_a_control_message_names_it_again() -> None:
    case, model = Case(), FixedModel(math.nan)
    case.lineup.use_champion(model)
    for _ in range(FAULT_LIMIT):
        case.send()
    model.answer = 0.5
    assert case.decide()["model"] == "degraded"
    case.lineup.use_champion(model)
    assert case.decide()["model"] == "ok"


def test_an_explanation_that_fails_costs_the_explanation_only() -> None:
    case, model = Case(), FixedModel(0.9)
    case.lineup.use_champion(model)
    for broken in (lambda *_: {"amount_zscore": math.nan}, lambda *_: 1 / 0):
        model.contributions = broken  # type: ignore[method-assign, assignment]
        outcome = case.send()
        assert outcome.alert is not None
        assert '"contributions":null' in outcome.alert
        assert [notice.is_cut_off for notice in outcome.notices] == [False]


# ---- time ----------------------------------------------------------------------------------------------------


def test_a_model_that_is_always_over_its_time_budget_is_disabled_soon() -> None:
    watch = Watch()
    case = Case(Lineup(watch, BUDGET_NS))
    case.lineup.use_champion(SlowModel(watch.tick, BUDGET_NS + 1))

    outcomes = [case.send() for _ in range(SLOW_LIMIT + 1)]

    assert [outcome.is_degraded for outcome in outcomes] == [False] * SLOW_LIMIT + [True]
    assert reasons(outcomes[SLOW_LIMIT - 1]) == ["MODEL_CUT_OFF"]
    assert {notice.fault for outcome in outcomes for notice in outcome.notices} == {ModelFault.TOO_SLOW}
    decision, _, _ = parts(outcomes[SLOW_LIMIT - 1])
    assert decision is not None
    assert decision["model_version"] == "if-test", "a late score still counts, under the version of its model"


def test_a_pause_of_the_machine_does_not_disable_a_model() -> None:
    watch = Watch()
    case = Case(Lineup(watch, BUDGET_NS))
    model = SlowModel(watch.tick, 1_000)
    case.lineup.use_champion(model)
    for _ in range(20):
        model.took_ns = BUDGET_NS * 100
        for _ in range(TIMED_EVERY):  # until a timed score is slow, and no longer
            if case.send().notices:
                break
        model.took_ns = 1_000
        for _ in range(TIMED_EVERY * 2):
            assert not case.send().is_degraded


def test_few_scores_are_timed() -> None:
    watch = Watch()
    case = Case(Lineup(watch, BUDGET_NS))
    case.lineup.use_champion(SlowModel(watch.tick, 1_000))
    for _ in range(TIMED_EVERY * 3):
        case.send()
    assert watch.looks == 2 * 3


# ---- shadow --------------------------------------------------------------------------------------------------


def test_a_shadow_is_recorded_and_changes_nothing() -> None:
    plain, shadowed = Case(), Case()
    for case in (plain, shadowed):
        case.lineup.use_champion(FixedModel(0.25))
    shadowed.lineup.use_shadow(named(FixedModel(0.9), "shadow-1"))

    without, outcome = plain.decide(), shadowed.send()

    decision, alert, letters = parts(outcome)
    assert decision is not None
    assert (alert, letters) == (None, [])
    assert decision.pop("shadow") == {"model_version": "shadow-1", "ml_score": 0.9, "score": 0.9, "is_alert": True}
    assert outcome.is_shadow_alert is True
    without.pop("shadow")
    assert decision == without


def test_a_shadow_that_fails_never_changes_the_decision() -> None:
    case = Case()
    case.lineup.use_champion(FixedModel(0.25))
    case.lineup.use_shadow(named(FixedModel(RuntimeError()), "shadow-1"))

    outcomes = [case.send() for _ in range(FAULT_LIMIT + 1)]

    for outcome in outcomes:
        decision, _, _ = parts(outcome)
        assert decision is not None
        assert (decision["model"], decision["ml_score"], decision["shadow"]) == ("ok", 0.25, None)
    assert reasons(outcomes[FAULT_LIMIT - 1]) == ["MODEL_CUT_OFF"]
    assert outcomes[-1].notices == ()


# ---- experiment ----------------------------------------------------------------------------------------------


def trial(champion: float, challenger: float | Exception, threshold: float = 0.5) -> Case:
    case = Case(config=DetectionConfig(alpha=1.0, alert_threshold=threshold))
    case.lineup.use_champion(FixedModel(champion))
    case.lineup.use_challenger(named(FixedModel(challenger), "challenger-1"), TRIAL)
    return case


def test_the_challenger_decides_for_its_share_under_its_own_version() -> None:
    case = trial(0.25, 0.3)
    for _, customer in zip(range(200), customers(), strict=False):
        decision = case.decide(customer)
        who = (decision["variant"], decision["model_version"], decision["ml_score"])
        assert who == (("challenger", "challenger-1", 0.3) if INSIDE(customer) else ("champion", "if-test", 0.25))


def test_the_guard_returns_to_the_champion_and_reports_why_once() -> None:
    case = trial(0.25, 0.9)
    outcomes = [case.send() for _ in range(400)]

    (stop,) = (outcome for outcome in outcomes if outcome.stopped is not None)
    assert stop.stopped is not None
    assert stop.stopped.experiment == TRIAL
    assert reasons(stop) == ["EXPERIMENT_STOPPED"]
    assert "times as often" in parts(stop)[2][0]["detail"]
    after = outcomes[outcomes.index(stop) + 1 :]
    assert after
    assert {outcome.variant for outcome in after} == {"champion"}
    assert sum(len(outcome.letters) for outcome in outcomes) == 1


def test_a_challenger_that_fails_leaves_the_champion_to_decide_and_ends() -> None:
    case = trial(0.25, RuntimeError())
    outcomes = [case.send() for _ in range(100)]

    assert all(not outcome.is_degraded and outcome.variant == "champion" for outcome in outcomes)
    (stop,) = (outcome for outcome in outcomes if outcome.stopped is not None)
    assert reasons(stop) == ["MODEL_CUT_OFF", "EXPERIMENT_STOPPED"]
    assert stop.stopped is not None
    assert "disabled after repeated faults" in stop.stopped.why


def test_equal_models_run_side_by_side() -> None:
    case = trial(0.25, 0.25)
    assert all(case.send().stopped is None for _ in range(500))
