"""Terminal, device, card and IP address: version 2 of the transactions beside version 1."""

from __future__ import annotations

import json
import random
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.accounts.effects import add_actions
from flink_jobs.core.accounts.standing import AccountActions
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.purchase_ids import card_token, normal_ip
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.probability import ProbabilityCurve
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection, Transaction
from tests.account_samples import action, action_record
from tests.avro_samples import avro, knowing, our_schema
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.evaluation import FixedModel

LEAST: dict[str, Any] = {
    "transaction_id": "t-1", "customer_id": "c-1", "amount_minor": 1250, "currency": "USD",
    "event_time_ms": NOW_MS - 3_600_000,
}  # fmt: skip
IDS = {"terminal": "term-1", "device": "d-1", "card": "tok-1", "ip": "192.0.2.1"}
WRONG = [
    ("terminal", 17, DeadLetterReason.WRONG_TYPE),
    ("terminal", {"id": 17}, DeadLetterReason.WRONG_TYPE),
    ("device", "d" * 129, DeadLetterReason.INVALID_TEXT),
    ("device", " ", DeadLetterReason.INVALID_TEXT),
    ("card", "tok\n1", DeadLetterReason.INVALID_TEXT),
    ("card", 4111111111111111, DeadLetterReason.WRONG_TYPE),
    ("ip", True, DeadLetterReason.WRONG_TYPE),
    ("ip", "192.0.2.256", DeadLetterReason.INVALID_IP),
    ("ip", "", DeadLetterReason.INVALID_IP),
]


def parsed(**fields: Any) -> Transaction | Rejection:  # noqa: ANN401 - any JSON value
    return parse_transaction(wire({**LEAST, **fields}), NOW_MS)


def test_the_four_fields_are_read_with_and_without_a_declared_version() -> None:
    for declared in ({}, {"schema_version": 2}, {"schema_version": None}, {"schema_version": 1}):
        answer = parsed(**IDS, **declared)
        assert isinstance(answer, Transaction)
        assert answer[-4:] == ("term-1", "d-1", "tok-1", "192.0.2.1")
    plain = parsed(**dict.fromkeys(IDS), schema_version=2)
    assert plain == parsed()
    assert isinstance(plain, Transaction)
    assert plain[-4:] == (None, None, None, None)


@pytest.mark.parametrize(("field", "value", "reason"), WRONG)
def test_a_wrong_value_is_a_dead_letter_in_version_2_and_unknown_in_version_1(
    field: str, value: object, reason: DeadLetterReason
) -> None:
    rejection = parsed(**{**IDS, field: value}, schema_version=2)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is reason
    assert rejection.detail.startswith(f"{field} must be ")
    assert str(value) not in rejection.detail or value in {"", " ", True}
    for undeclared in ({}, {"schema_version": 1}, {"schema_version": "2"}, {"schema_version": True}):
        answer = parsed(**{**IDS, field: value}, **undeclared)
        assert isinstance(answer, Transaction), "version 1 allows additional fields of any form"
        assert answer._asdict() | dict.fromkeys(LEAST) == parsed_ids(field)


def parsed_ids(unknown: str) -> dict[str, Any]:
    """The transaction with the four fields but one, without the required fields."""
    return Transaction(*[None] * 5, **{**IDS, unknown: None})._asdict()  # type: ignore[arg-type]


@given(st.ip_addresses())
def test_an_address_has_one_form(address: Any) -> None:  # noqa: ANN401 - IPv4 or IPv6
    expected = str(getattr(address, "ipv4_mapped", None) or address)
    spellings = {str(address), str(address).upper(), address.exploded}
    assert {normal_ip(text) for text in spellings} == {expected}
    assert normal_ip(expected) == expected


@given(st.text("0123456789abcdefABCDEF.:%/ x", max_size=48))
def test_a_text_is_an_address_for_us_as_for_python(text: str) -> None:
    try:
        expected = str(ip_address(text))
    except ValueError:
        assert normal_ip(text) is None
        return
    assert (normal_ip(text) is None) == ("%" in text or len(text) > 45)
    assert expected


@pytest.mark.parametrize(
    "number",
    ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "PAN:4111111111111111",
     "4111111111111111=2512", "4111 1111 1111 1111 12", ";4111111111111111?"],
)  # fmt: skip
def test_a_card_number_in_the_clear_is_kept_as_its_last_four_digits(number: str) -> None:
    answer = parsed(card=number, schema_version=2)
    assert isinstance(answer, Transaction)
    assert answer.card == "****1111"


@pytest.mark.parametrize("length", range(13, 20))
def test_a_card_number_of_every_length_is_found(length: int) -> None:
    head = "4" + "0" * (length - 2)
    (number,) = [f"{head}{digit}" for digit in range(10) if card_token(f"{head}{digit}") != f"{head}{digit}"]
    assert card_token(number) == "****" + number[-4:]


def test_tokens_stay() -> None:
    chance = random.Random(7)  # noqa: S311 - a test
    tokens = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(20_000)]
    tokens += [f"{chance.getrandbits(256):064x}" for _ in range(5_000)]
    tokens += ["tok_4111111111111111", "****1111", "411111111111", "0" * 16, "4111111111111112", "4" * 20]
    assert [token for token in tokens if card_token(token) != token] == []


def scored(evaluator: TransactionEvaluator, payload: bytes, state: bytes | None = None) -> tuple[dict[str, Any], bytes]:
    outcome = evaluator.evaluate(record_of(payload), lambda: state, NOW_MS)
    assert outcome.decision is not None
    assert outcome.state is not None
    return json.loads(outcome.decision), outcome.state


def test_a_decision_has_the_fields_where_one_is_known_and_else_is_unchanged() -> None:
    plain, _ = scored(TransactionEvaluator(), wire(LEAST))
    assert plain["schema_version"] == 2
    assert not plain.keys() & IDS.keys()
    full, _ = scored(TransactionEvaluator(), wire({**LEAST, "card": "tok-1"}))
    assert full == {**plain, "schema_version": 6, "terminal": None, "device": None, "card": "tok-1", "ip": None}


def test_the_version_of_a_decision_with_the_fields_is_the_newest() -> None:
    model = FixedModel(0.1)
    model.probability = ProbabilityCurve(0.6, [0.0, 1.0], [0.001, 0.501])
    decision, _ = scored(TransactionEvaluator(model=model), wire({**LEAST, **IDS}))
    assert decision["schema_version"] == 6
    assert {"fraud_probability", *IDS} <= decision.keys()


def test_an_alert_has_the_fields_of_its_decision_and_else_is_unchanged() -> None:
    def alerted(curve: ProbabilityCurve | None, **ids: str) -> dict[str, Any]:
        model = FixedModel(1.0)
        model.probability = curve
        evaluator = TransactionEvaluator(DetectionConfig(alert_threshold=0.0), model)
        outcome = evaluator.evaluate(record_of(wire({**LEAST, **ids})), lambda: None, NOW_MS)
        assert outcome.alert is not None
        alert: dict[str, Any] = json.loads(outcome.alert)
        return alert

    curve = ProbabilityCurve(0.6, [0.0, 1.0], [0.001, 0.501])
    for given_curve, version in ((None, 2), (curve, 3)):
        plain = alerted(given_curve)
        assert plain["schema_version"] == version
        ids = {"terminal": None, "device": "d-1", "card": "****1111", "ip": None}
        full = alerted(given_curve, device="d-1", card="4111 1111 1111 1111")
        assert full == {**plain, "schema_version": 4, **ids}


def test_one_card_of_a_customer_is_blocked() -> None:
    evaluator = TransactionEvaluator()
    blocked = evaluator.evaluate(action_record(action("block", card="tok-1")), lambda: None, NOW_MS).state
    assert blocked is not None
    stolen, _ = scored(evaluator, wire({**LEAST, "card": "tok-1"}), blocked)
    assert [item["scope"] for item in stolen["actions"]] == ["card"]
    assert stolen["reasons"][-1]["code"] == "ACCOUNT_BLOCKED"
    for other in ({"card": "tok-2"}, {}, {"merchant": "tok-1"}, {"terminal": "tok-1"}):
        decision, _ = scored(evaluator, wire({**LEAST, **other}), blocked)
        assert "actions" not in decision


def test_an_action_on_a_card_is_not_one_on_a_merchant_of_the_same_name() -> None:
    account = AccountActions()
    for item in (action("allow", merchant="same"), action("watch", card="same")):
        account, _ = account.with_action(item.entry(), NOW_MS)
    both = Transaction("t", "c-1", 1, "USD", NOW_MS, merchant="same", card="same")
    decision, _ = scored(TransactionEvaluator(), wire(LEAST))
    standing = account.at(both)
    assert standing is not None
    add_actions(decision, standing, ())  # type: ignore[arg-type]
    assert decision["actions"][0]["scope"] == "merchant"
    standing = account.at(both._replace(merchant=None))
    assert standing is not None
    add_actions(decision, standing, ())  # type: ignore[arg-type]
    assert decision["actions"][0]["scope"] == "card"


def test_avro_records_of_both_versions_are_read() -> None:
    newer = {**LEAST, **IDS, "schema_version": 2}
    assert knowing(our_schema()).parse(avro(newer), NOW_MS) == parsed(**IDS)
    wrong = avro({**newer, "ip": "192.0.2.256"})
    rejection = knowing(our_schema()).parse(wrong, NOW_MS)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is DeadLetterReason.INVALID_IP
    older = our_schema()
    older["fields"] = [item for item in older["fields"] if item["name"] not in {*IDS, "schema_version"}]
    assert knowing(older).parse(avro(LEAST, older), NOW_MS) == parsed()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("long", 17), (["null", "int", "string"], 17), ({"type": "record", "name": "Box", "fields": []}, {})],
)
def test_an_avro_producer_of_version_1_may_use_a_name_for_another_type(kind: Any, value: object) -> None:  # noqa: ANN401
    schema = our_schema()
    for item in schema["fields"]:
        if item["name"] == "terminal":
            item.clear()
            item.update({"name": "terminal", "type": kind})
    record = avro({**LEAST, "terminal": value, "card": "tok-1"}, schema)
    assert knowing(schema).parse(record, NOW_MS) == parsed(card="tok-1")
