"""Own features: what a module may be, what its functions see, and what becomes of values that are not valid."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from math import inf, nan
from pathlib import Path
from textwrap import dedent
from typing import Any

import orjson
import pytest
from hypothesis import given

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.own_features import Customer, Location, OwnFeature, OwnFeatureError, feature
from flink_jobs.core.own_features.check import CheckedFeature, check_features
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import FeatureSource, read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.replay import replay_features
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.transaction import Transaction
from tests.own_features import EXAMPLE, FOLDER
from tests.strategies import NOW_MS, document_of, histories, record_of, wire
from tests.unit.core.evaluation import Stream, parts

HEAD = "from flink_jobs.core.own_features import Customer, Transaction, feature, major_amount\n"
DECLARED = '@feature(unit="u", low=0, high=10, neutral=1, absent="never", meaning="m")\n'
TRANSACTION = Transaction("t-1", "c-1", 1_250, "USD", NOW_MS, "shop", "food")


def module(*functions: str, head: str = "", name: str = "bank.features") -> FeatureSource:
    return FeatureSource(name, HEAD + head + "".join(DECLARED + dedent(text).lstrip() for text in functions))


def declared(unit: str = "u", low: str = "0", high: str = "10") -> str:
    head = f'@feature(unit="{unit}", low={low}, high={high}, neutral=1, absent="never", meaning="m")'
    return f"{head}\ndef g(c, t): ...\n"


def returning(expression: str, name: str = "f") -> FeatureSource:
    return module(f"def {name}(customer, transaction):\n    return {expression}\n")


def values(source: FeatureSource) -> OwnValues:
    return OwnValues(load_features([source]))


def checked(source: FeatureSource) -> CheckedFeature:
    (one,) = check_features([source], still)
    return one


def still() -> int:
    """A stopwatch for which no call takes time."""
    return 0


def example() -> OwnValues:
    return OwnValues(load_features(read_sources([EXAMPLE], FOLDER)))


def test_the_example_passes_its_check() -> None:
    found = {item.name: item for item in check_features(read_sources([EXAMPLE], FOLDER), still)}
    assert list(found) == ["own_quiet_days", "own_roundness", "own_new_category"]
    assert [item.problems for item in found.values()] == [[], [], []]
    assert all(0.0 < item.absent < 0.5 and item.low == 0.0 for item in found.values())


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("1 / (transaction.amount_minor - 1)", "ZeroDivisionError"),
        ("float('nan') if customer.transactions else 1", "no number from 0 to 10 in"),
        ("customer.transactions", "no number from 0 to 10 in"),
        ("'5'", "first nan"),
        ("None", "no value for any sample"),
        ("customer.calls.append(1) or 1.0", "AttributeError"),
        ("len(SEEN.setdefault(transaction.customer_id, [0]) and SEEN) % 10", "not pure"),
    ],
    ids=["raises", "nan", "range", "text", "nothing", "no such name", "remembers"],
)
def test_the_check_finds(expression: str, problem: str) -> None:
    source = module(f"def f(customer, transaction):\n    return {expression}\n", head="SEEN = {}\n")
    assert any(problem in text for text in checked(source).problems)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import os\n", "may not import os"),
        ("from random import random\n", "may not import random"),
        ("from . import other\n", "may not import ."),
        ("from flink_jobs.core.state import customer\n", "may not import flink_jobs.core.state"),
        ("f = open\n", "may not use open"),
        ("N = hash('x')\n", "may not use hash"),
        ("from datetime import datetime\nT = datetime.now()\n", "may not read the clock with now"),
        ("def g(c):\n    return c._state\n", "line 3: it may not use the private name _state"),
        ("def g():\n    global N\n    N = 1\n", "must not change a variable outside"),
        ("def g(:\n", "is not Python"),
        ("1 / 0\n", "cannot be loaded: ZeroDivisionError"),
        ("N = 1\n", "declares no feature"),
        (f"{DECLARED}def Big(customer, transaction):\n    return 1\n", "the name must have"),
        (declared(low="2", high="1"), "low must be below"),
        (declared(unit=""), "'unit' must be"),
        (declared(high="float('inf')"), "finite"),
    ],
)
def test_a_module_is_refused(text: str, problem: str) -> None:
    with pytest.raises(OwnFeatureError, match=r"bank\.features") as refused:
        load_features([FeatureSource("bank.features", HEAD + text)])
    assert problem in str(refused.value)


def test_two_modules_share_no_name_and_there_is_a_limit() -> None:
    both = load_features([returning("1", "f"), FeatureSource("bank.more", returning("2", "g").text)])
    assert both.names == ("own_f", "own_g")
    with pytest.raises(OwnFeatureError, match="declared twice: own_f"):
        load_features([returning("1"), returning("2")])
    with pytest.raises(OwnFeatureError, match="65 features"):
        load_features([module(*[f"def f{number}(c, t):\n    return 1\n" for number in range(65)])])


def test_a_module_is_found_by_its_name_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "bank" / "features.py").write_text("1 / 0")
    (source,) = read_sources(["bank.features"], tmp_path)
    assert source == ("bank.features", "1 / 0")
    assert len(source.sha256) == 64
    (tmp_path / "bank" / "binary.py").write_bytes(b"\xff")
    (tmp_path / "bank" / "large.py").write_text("#" * 300_000)
    for name, problem in {
        "bank.nothing": "there is no module",
        "nobody": "there is no module",
        "bank": "not a module in one .py file",
        "bank.features.f": "not a module in one .py file",
        "math": "there is no module",
        "bank.binary": "not UTF-8",
        "bank.large": "longer than",
    }.items():
        with pytest.raises(OwnFeatureError, match=problem):
            read_sources([name], tmp_path)
    (tmp_path / f"compiled_features{EXTENSION_SUFFIXES[0]}").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OwnFeatureError, match="is not a module in one"):
        read_sources(["compiled_features"], None)


def test_the_check_finds_a_slow_function() -> None:
    ticks = iter(range(0, 10**12, 60_000))
    (one,) = check_features([returning("1")], lambda: next(ticks))
    assert one.problems == ["a call takes 60 us; at most 50 are allowed"]


@pytest.mark.parametrize(
    "value",
    [nan, inf, -1.0, 10.1, "5", 1 + 2j, [1], 10**400],
    ids=["nan", "inf", "low", "high", "text", "complex", "list", "huge"],
)
def test_a_value_that_is_not_valid_is_absent_and_counted(value: object) -> None:
    own = OwnValues(load_features([returning("1")]))
    own._rows = [("own_f", lambda customer, transaction: value, 0.0, 10.0)]  # noqa: ARG005
    own.compute(CustomerFraudState(), TRANSACTION)
    assert own.of(TRANSACTION) == (None,)
    assert sum(own.take_faults().values()) == 1
    assert sum(own.take_faults().values()) == 0


def test_values_belong_to_the_transaction_that_was_computed_last() -> None:
    own = example()
    with pytest.raises(InputsNotReady):
        own.of(TRANSACTION)
    own.compute(CustomerFraudState(), TRANSACTION)
    assert own.of(TRANSACTION) == (None, None, 0.0)
    with pytest.raises(InputsNotReady):
        own.of(TRANSACTION._replace(transaction_id="t-2"))
    own.use({"own_quiet_days": 3.0}, TRANSACTION)
    assert own.of(TRANSACTION) == (3.0, None, None)


def record(name: str, time_ms: int = NOW_MS) -> SourceRecord:
    return record_of(wire(document_of(TRANSACTION._replace(transaction_id=name, event_time_ms=time_ms))), "c-1")


def test_a_decision_records_the_values_and_why_there_are_none() -> None:
    text = module(
        "def new(customer, transaction):\n    return float(customer.transactions)\n",
        "def broken(customer, transaction):\n    return 1 / customer.transactions\n",
        "def wide(customer, transaction):\n    return 11\n",
        "def nothing(customer, transaction):\n    return None\n",
    )
    own = values(text)
    stream = Stream(TransactionEvaluator(own=own))
    decisions: list[Any] = [parts(stream.send(record(name)))[0] for name in ("t-1", "t-2")]
    assert [{name: item["features"][name] for name in own.features.names} for item in decisions] == [
        {"own_new": 0.0, "own_broken": None, "own_wide": None, "own_nothing": None},
        {"own_new": 1.0, "own_broken": 1.0, "own_wide": None, "own_nothing": None},
    ]
    assert {name: why for name, why in decisions[0]["absent"].items() if name.startswith("own_")} == {
        "own_broken": "function_raised",
        "own_wide": "value_invalid",
        "own_nothing": "no_value",
    }
    assert own.take_faults() == {"function_raised": 1, "value_invalid": 2}


@given(histories())
def test_replay_and_stream_compute_the_same(history: list[Transaction]) -> None:
    own = example()
    replayed = [
        (transaction.transaction_id, own.of(transaction)) for transaction, _ in replay_features(history, own=own)
    ]
    names = own.features.names
    stream = Stream(TransactionEvaluator(own=example()))
    served = []
    for transaction in history:
        outcome = stream.send(record_of(wire(document_of(transaction)), transaction.customer_id))
        if outcome.decision is not None:
            decision = orjson.loads(outcome.decision)
            served.append((decision["transaction_id"], tuple(decision["features"][name] for name in names)))
    assert served == replayed


def test_a_function_sees_statistics_and_cannot_change_them() -> None:
    state = CustomerFraudState()
    customer = Customer(state)
    assert (customer.transactions, customer.first_time_ms, customer.last_time_ms) == (0, None, None)
    assert (customer.amounts("USD"), customer.location, customer.habit("food", "USD")) == (None, None, None)
    assert customer.habit(None, "USD") is None
    for number, amount in enumerate((10.0, 20.0, 60.0)):
        bought = TRANSACTION._replace(event_time_ms=NOW_MS + number, latitude=1.0, longitude=2.0)
        state.observe(bought, amount, transaction_fingerprint(str(number)))
    amounts, habit = customer.amounts("USD"), customer.habit("food", "USD")
    assert amounts is not None
    assert habit is not None
    assert (amounts.number, amounts.mean, habit.number, customer.categorised, customer.categories) == (3, 30.0, 3, 3, 1)
    assert amounts.std == pytest.approx(26.4575, abs=1e-4)
    assert amounts.log_std == pytest.approx(habit.log_std or 0.0, rel=1e-5)
    assert customer.recent_times_ms == (NOW_MS, NOW_MS + 1, NOW_MS + 2)
    assert (sum(customer.hour_counts), customer.currencies) == (3, ("USD",))
    assert customer.location == Location(NOW_MS + 2, 1.0, 2.0)
    assert len(customer.recent_multiples) == len(customer.recent_surprises) == 3
    with pytest.raises(AttributeError):
        customer.transactions = 5  # type: ignore[misc]


def test_a_declared_function_can_be_called_in_a_test_of_its_author() -> None:
    @feature(unit="u", low=0, high=10, neutral=1, absent="never", meaning="m")
    def major(customer: Customer, transaction: Transaction) -> float | None:  # noqa: ARG001
        return transaction.amount_minor / 100

    assert isinstance(major, OwnFeature)
    assert major(Customer(CustomerFraudState()), TRANSACTION) == 12.5
