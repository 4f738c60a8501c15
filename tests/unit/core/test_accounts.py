"""Actions on accounts: precedence, expiry, order of arrival, bytes, and what they change in a decision."""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.accounts.action import UserAction, parse_action
from flink_jobs.core.accounts.document import AccountAction
from flink_jobs.core.accounts.standing import (
    DAY_MS,
    GRACE_MS,
    MAX_ENTRIES,
    AccountActions,
    ActionChange,
    Kind,
    read_actions,
)
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import ActionOutcome, Outcome
from flink_jobs.core.state.codec import ACTIONS_BYTES, NEWEST_VERSION, STATE_VERSION, StateCorrupt
from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.core.transaction import Transaction
from tests.account_samples import action, action_record, actions
from tests.strategies import NOW_MS, record_of, states, wire

HOUR_MS = 3_600_000
ALWAYS_ALERT = DetectionConfig(alert_threshold=0.0)


def taken(given_actions: list[UserAction], now_ms: int = NOW_MS) -> AccountActions:
    account = AccountActions()
    for item in given_actions:
        account, _ = account.with_action(item.entry(), now_ms)
    return account


def purchase(**fields: Any) -> Transaction:  # noqa: ANN401 - any field
    return Transaction("t-1", "c-1", 1_000, "USD", NOW_MS, **fields)


def send(evaluator: TransactionEvaluator, stored: dict[str, bytes], record: Any) -> Outcome:  # noqa: ANN401
    outcome = evaluator.evaluate(record, lambda: stored.get(record.routing_key), NOW_MS)
    if outcome.state:
        stored[record.routing_key] = outcome.state
    return outcome


def decided(outcome: Outcome) -> dict[str, Any]:
    assert outcome.decision is not None, outcome.letters
    document: dict[str, Any] = orjson.loads(outcome.decision)
    return document


def sent(name: str, **fields: object) -> Any:  # noqa: ANN401
    document = {
        "transaction_id": name, "customer_id": "c-1", "amount_minor": 1_000, "currency": "USD",
        "event_time_ms": NOW_MS - HOUR_MS, "merchant": "m-1", **fields,
    }  # fmt: skip
    return record_of(wire(document))


@given(st.lists(actions(), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_arrival_and_repetition_change_nothing(items: list[UserAction], chance: random.Random) -> None:
    shuffled = [*items, *items[: len(items) // 2]]
    chance.shuffle(shuffled)
    assert taken(shuffled) == taken(items)


@given(
    st.lists(actions(), max_size=12),
    st.sampled_from([None, "m-1", "m-2", "m-3"]),
    st.sampled_from([None, "m-1", "tok", "tik"]),
    st.integers(-8, 15),
)
def test_the_actions_in_force_are_those_of_a_direct_definition(
    items: list[UserAction], merchant: str | None, card: str | None, hours: int
) -> None:
    """Every action by itself: not expired, on this merchant or card, not cleared later, and the newest of its kind."""
    time_ms = NOW_MS + hours * HOUR_MS
    order = {item.id: (item.issued_at_ms, item.id) for item in items}
    clears = [item for item in items if item.action is AccountAction.CLEAR]

    def in_force(item: UserAction) -> bool:
        slot = (item.action, item.merchant, item.card, item.rule)
        newer = [
            other
            for other in items
            if (other.action, other.merchant, other.card, other.rule) == slot and order[other.id] > order[item.id]
        ]
        cleared = [
            clear
            for clear in clears
            if order[clear.id] > order[item.id]
            and clear.merchant in {None, item.merchant}
            and clear.card in {None, item.card}
            and clear.rule in {None, item.rule}
        ]
        return (
            item.action is not AccountAction.CLEAR
            and not newer
            and not cleared
            and item.merchant in {None, merchant}
            and item.card in {None, card}
            and time_ms < (item.expires_at_ms or 0)
        )

    expected = {item.id for item in items if in_force(item)}
    standing = taken(items).at(Transaction("t", "c-1", 1, "USD", time_ms, merchant=merchant, card=card))
    found = () if standing is None else tuple(filter(None, (standing.leading, *standing.suppressed)))
    kinds = {item.action for item in items if item.id in expected}
    assert {entry.action_id for entry in found if entry.kind is Kind.SUPPRESS} == {
        item.id for item in items if item.id in expected and item.action is AccountAction.SUPPRESS
    }
    leading = None if standing is None else standing.leading
    for kind in (AccountAction.BLOCK, AccountAction.ALLOW, AccountAction.WATCH):
        if kind in kinds:
            assert leading is not None
            assert (leading.kind.action, leading.action_id in expected) == (kind, True)
            break
    else:
        assert leading is None


@given(st.lists(actions(), min_size=1, max_size=12), states)
def test_a_state_with_actions_survives_its_bytes(items: list[UserAction], state: CustomerFraudState) -> None:
    plain = state.to_bytes()
    state.actions = taken(items)
    blob = state.to_bytes()
    assert (plain[0], blob[0]) == (STATE_VERSION, NEWEST_VERSION)
    assert CustomerFraudState(blob) == state
    assert len(blob) <= len(plain) + ACTIONS_BYTES
    assert read_actions(blob[5:]) == (state.actions, len(blob) - 5 - len(plain))


def test_a_damaged_state_with_actions_is_found() -> None:
    state = CustomerFraudState()
    state.actions = taken([action()])
    blob = bytearray(state.to_bytes())
    for place in range(len(blob)):
        blob[place] ^= 0x10
        with pytest.raises(StateCorrupt):
            CustomerFraudState(bytes(blob))
        blob[place] ^= 0x10


def test_a_block_is_stronger_than_an_allow_and_an_allow_than_a_watch() -> None:
    account = taken([action("watch"), action("allow"), action("block", merchant="m-1")])
    leading = [account.at(purchase(merchant=name)) for name in ("m-1", "m-2", None)]
    assert [item.leading.kind.action for item in leading if item and item.leading] == ["block", "allow", "allow"]


def test_an_action_that_ended_long_ago_is_forgotten_with_the_next_one() -> None:
    old = action(issued_at_ms=NOW_MS - 60 * DAY_MS, expires_at_ms=NOW_MS - GRACE_MS)
    assert len(taken([old, action("watch")], NOW_MS - GRACE_MS - 1).entries) == 2
    assert [entry.kind for entry in taken([old, action("watch")]).entries] == [Kind.WATCH]


def test_a_customer_has_a_limited_number_of_actions_but_can_always_be_blocked_and_cleared() -> None:
    account = taken([action("allow", merchant=f"m-{number}") for number in range(MAX_ENTRIES)])
    assert account.with_action(action("watch").entry(), NOW_MS) == (account, ActionChange.TOO_MANY)
    blocked, change = account.with_action(action("block").entry(), NOW_MS)
    assert (change, len(blocked.entries)) == (ActionChange.APPLIED, MAX_ENTRIES + 1)
    cleared, _ = blocked.with_action(action("clear", issued_at_ms=NOW_MS).entry(), NOW_MS)
    assert [entry.kind for entry in cleared.entries] == [Kind.CLEAR]


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        ("block", {"scope": "card"}, "card must be set with scope card"),
        ("block", {"scope": "customer", "card": "tok"}, "card must be set with scope card"),
        ("block", {"card": "tok", "merchant": "m-1"}, "merchant must be set with scope merchant"),
        ("block", {"card": "4111 1111 1111 1111"}, "card is a card number in the clear"),
        ("block", {"scope": "terminal"}, "scope must be one of customer, merchant, card"),
        ("block", {"expires_at_ms": NOW_MS - 3_600_000}, "after issued_at_ms"),
        ("block", {"expires_at_ms": NOW_MS + 170 * DAY_MS}, "at most 170 days later"),
        ("block", {"expires_at_ms": None}, "at most 170 days later"),
        ("block", {"rule": "velocity"}, "with suppress and clear only"),
        ("suppress", {}, "suppress needs a rule"),
        ("suppress", {"rule": "speed"}, "rule must be one of high_amount"),
        ("clear", {"expires_at_ms": NOW_MS}, "clear has no expires_at_ms"),
        ("allow", {"reason": " "}, "reason must be"),
        ("allow", {"actor": ""}, "actor must be"),
        ("allow", {"issued_at_ms": 1_700_000}, "from 2000-01-01"),
    ],
)
def test_an_action_that_breaks_the_contract_says_why(kind: str, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        action(kind, **fields)


@given(actions())
def test_an_action_survives_its_topic(item: UserAction) -> None:
    parsed = parse_action(orjson.dumps(item.document()), NOW_MS)
    assert isinstance(parsed, UserAction)
    assert (parsed.document(), parsed.entry()) == (item.document(), item.entry())
    assert replace(parsed, given_id=None).id == item.id, "the id is a function of the other fields"


@pytest.mark.parametrize(
    ("payload", "key", "length", "detail"),
    [
        (b"{", None, None, "not a JSON object"),
        (None, None, None, "not a JSON object"),
        (b'{"schema_version": 3}', "c-1", None, "schema_version must be 1 or 2"),
        (b'{"schema_version": 1}', "c-1", None, "fields are missing: customer_id"),
        (orjson.dumps(action().document()), "c-2", None, "routed by a key"),
        (orjson.dumps(action().document() | {"rule": []}), "c-1", None, "rule is possible"),
        (orjson.dumps(action().document() | {"action_id": "x"}), "c-1", None, "action_id must be"),
        (orjson.dumps(action(issued_at_ms=NOW_MS + 2 * DAY_MS).document()), "c-1", None, "in the future"),
        (b"{", None, 70_000, "70,000 bytes"),
    ],
)
def test_a_malformed_action_becomes_a_dead_letter_with_its_bytes(
    payload: bytes | None, key: str | None, length: int | None, detail: str
) -> None:
    stored: dict[str, bytes] = {}
    outcome = send(TransactionEvaluator(), stored, action_record(payload, key, length=length))
    [letter] = [orjson.loads(item.body) for item in outcome.letters]
    assert (letter["reason"], letter["disposition"]) == ("ACTION_INVALID", "incident")
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("streamflow.user-actions", 1, 0)
    assert detail in letter["detail"]
    assert letter["payload"] == (None if payload is None else payload.decode())
    assert (outcome.account_action, stored) == (ActionOutcome.REJECTED, {})


def test_a_block_names_itself_and_leaves_the_score() -> None:
    stored: dict[str, bytes] = {}
    evaluator = TransactionEvaluator()
    plain = decided(send(evaluator, {}, sent("t-1")))
    assert send(evaluator, stored, action_record(action())).account_action is ActionOutcome.APPLIED
    blocked = decided(send(evaluator, stored, sent("t-1")))
    assert blocked["schema_version"] == 3
    assert blocked["reasons"][-1] == {"code": "ACCOUNT_BLOCKED", "contribution": 0.0}
    assert [item["action"] for item in blocked["actions"]] == ["block"]
    ours = {"schema_version", "reasons", "actions"}
    assert {name: value for name, value in blocked.items() if name not in ours} == {
        name: value for name, value in plain.items() if name not in ours
    }


def test_an_allow_suppresses_the_alert_and_keeps_the_score() -> None:
    stored: dict[str, bytes] = {}
    evaluator = TransactionEvaluator(ALWAYS_ALERT)
    assert send(evaluator, {}, sent("t-1")).alert is not None
    send(evaluator, stored, action_record(action("allow", merchant="m-1")))
    allowed, elsewhere = send(evaluator, stored, sent("t-1")), send(evaluator, stored, sent("t-2", merchant="m-2"))
    assert (allowed.alert, decided(allowed)["is_alert"]) == (None, False)
    assert decided(allowed)["score"] >= decided(allowed)["threshold"]
    assert elsewhere.alert is not None
    assert "actions" not in decided(elsewhere)


def test_a_suppressed_rule_does_not_fire_until_its_end() -> None:
    config = DetectionConfig()
    evaluator = TransactionEvaluator(replace(config, rules=config.rules))
    stored: dict[str, bytes] = {}
    end = NOW_MS - 30 * 60_000
    travel = action("suppress", rule="impossible_travel", issued_at_ms=end - DAY_MS, expires_at_ms=end)
    send(evaluator, stored, action_record(travel))
    here, there = {"lat": 50.0, "lon": 8.0}, {"lat": -40.0, "lon": -170.0}
    first = decided(send(evaluator, stored, sent("t-1", location=here)))
    assert "actions" not in first, "the rule did not fire"
    during = decided(send(evaluator, stored, sent("t-2", location=there, event_time_ms=end - 1)))
    after = decided(send(evaluator, stored, sent("t-3", location=here, event_time_ms=end)))
    assert (during["rule_score"], [item["rule"] for item in during["actions"]]) == (0.0, ["impossible_travel"])
    assert "IMPOSSIBLE_TRAVEL" in [item["code"] for item in after["reasons"]]
    assert "actions" not in after


def test_actions_meet_the_decoded_states_of_recent_customers() -> None:
    stored: dict[str, bytes] = {}
    evaluator = TransactionEvaluator(recent=RecentStates(2, DAY_MS))
    send(evaluator, stored, sent("t-1"))
    newest = action(issued_at_ms=NOW_MS)
    for item, outcome in (
        (newest, ActionOutcome.APPLIED), (newest, ActionOutcome.OUTDATED), (action(), ActionOutcome.OUTDATED),
    ):  # fmt: skip
        assert send(evaluator, stored, action_record(item)).account_action is outcome
    assert decided(send(evaluator, stored, sent("t-2")))["actions"][0]["action_id"] == newest.id
    fresh = TransactionEvaluator()
    assert decided(send(fresh, stored, sent("t-3")))["actions"][0]["action_id"] == newest.id


def test_a_customer_without_actions_keeps_the_bytes_of_earlier_releases() -> None:
    stored: dict[str, bytes] = {}
    outcome = send(TransactionEvaluator(), stored, sent("t-1"))
    assert decided(outcome)["schema_version"] == 2
    assert stored["c-1"][0] == STATE_VERSION
