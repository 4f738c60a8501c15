"""The operator: what goes to which output under which key, and when state is written."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import orjson
import pytest
from pyflink.datastream.state import StateTtlConfig

from flink_jobs.contracts import uids
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.decision import alert_id
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.replies import REPLY_PARTITION, REPLY_TO, REQUEST_ID
from flink_jobs.core.state.codec import NEWEST_VERSION
from flink_jobs.job.detector.models import keyed
from flink_jobs.job.detector.operator import FraudDetectorFunction
from tests.account_samples import action, action_record
from tests.unit.job.fake_runtime import PROCESS_MODULE, THREAD_MODULE, Operator, Outputs, Runtime, lines
from tests.unit.job.samples import control, detector, record, settings, transaction

BLACKLIST_M1: dict[str, Any] = {
    "alert_threshold": 0.1,
    "rules": {"blacklist": {"weight": 1.0}},
    "blacklist": {"merchant": {"add": ["m-1"]}},
}


def one(outputs: list[str]) -> tuple[str, dict[str, Any]]:
    """Return key and document of the only line."""
    ((key, value),) = lines(outputs)
    document: dict[str, Any] = orjson.loads(value)
    return key, document


def letter(outputs: Outputs) -> dict[str, Any]:
    """Return the only dead letter, having checked its key."""
    key, document = one(outputs.side["dead-letters"])
    assert key == document["dlq_id"]
    return document


def test_a_decision_goes_to_the_main_output_under_its_customer_and_the_state_is_written() -> None:
    operator = detector()

    outputs = operator.send(record(transaction()))

    key, decision = one(outputs.main)
    assert key == decision["customer_id"] == "c-1"
    assert decision["source"] == {"topic": "streamflow.transactions", "partition": 2, "offset": 7}
    assert not any(outputs.side.values())
    assert list(operator.state.values) == ["c-1"]


def test_an_alert_goes_beside_its_decision_under_the_same_key() -> None:
    operator = detector()
    operator.control(control(BLACKLIST_M1))

    outputs = operator.send(record(transaction(merchant="m-1")))

    _, decision = one(outputs.main)
    key, alert = one(outputs.side["alerts"])
    assert decision["is_alert"]
    assert (key, alert["alert_id"]) == ("c-1", alert_id("c-1", "t-1"))


def test_alerts_can_wait_for_the_checkpoint() -> None:
    operator = Operator(FraudDetectorFunction(settings(are_alerts_at_once=False)))
    operator.control(control(BLACKLIST_M1))

    outputs = operator.send(record(transaction(merchant="m-1")))

    assert set(outputs.side) == {"alerts-with-checkpoint"}


def test_a_record_that_asks_gets_its_reply_under_the_key_of_its_partition() -> None:
    operator = detector()

    outputs = operator.send(asking(record(transaction()), "1"))

    key, reply = one(outputs.side["replies"])
    _, decision = one(outputs.main)
    assert key == "b"
    assert (reply["request_id"], reply["score"]) == ("r-1", decision["score"])

    rejected = operator.send(asking(record(b"not json"), "0"))
    key, reply = one(rejected.side["replies"])
    assert (key, reply["rejection"]) == ("a", letter(rejected)["reason"])

    refused = operator.send(asking(record(transaction("t-2")), "2"))
    assert refused.main, "an invalid request changes nothing else"
    assert not refused.side["replies"]
    operator.fire_timers()
    assert operator.runtime.count("replies", outcome="decided") == 1
    assert operator.runtime.count("replies", outcome="rejected") == 1
    assert operator.runtime.count("reply_faults", fault="partition") == 1


def asking(bare: SourceRecord, partition: str) -> SourceRecord:
    """Return a record with the headers that ask for a reply."""
    headers = {REPLY_TO: "streamflow.replies", REQUEST_ID: "r-1", REPLY_PARTITION: partition}
    packed = {name: b64encode(value.encode()).decode() for name, value in headers.items()}
    return bare._replace(headers=orjson.dumps(packed).decode())


def test_customers_have_states_of_their_own() -> None:
    operator = detector()

    for name, customer in (("t-1", "c-1"), ("t-1", "c-2"), ("t-2", "c-1")):
        assert operator.send(record(transaction(name, customer))).main

    assert set(operator.state.values) == {"c-1", "c-2"}


def test_a_redelivered_transaction_is_a_dead_letter_and_writes_no_state() -> None:
    operator = detector()
    operator.send(record(transaction()))
    before = dict(operator.state.values)

    outputs = operator.send(record(transaction(), offset=8))

    assert not outputs.main
    assert (letter(outputs)["disposition"], letter(outputs)["offset"]) == ("duplicate", 8)
    assert (operator.state.values, operator.state.writes) == (before, 1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(b"not json"), "MALFORMED_JSON"),
        (record(None), "EMPTY_PAYLOAD"),
        (record(b"\xff\xfe"), "INVALID_UTF8"),
        (record(transaction(amount_minor=-1)), "NEGATIVE_AMOUNT"),
        (record(transaction(), key="c-2"), "KEY_MISMATCH"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_decided_is_a_dead_letter_and_touches_no_state(bad: SourceRecord, reason: str) -> None:
    operator = detector()

    outputs = operator.send(bad)

    assert not outputs.main
    assert (letter(outputs)["reason"], letter(outputs)["disposition"]) == (reason, "rejected")
    assert operator.state.writes == 0


def test_corrupt_state_is_reported_and_the_event_still_decided() -> None:
    operator = detector()
    operator.send(record(transaction()))
    operator.state.values["c-1"] = operator.state.values["c-1"][:-1] + b"\x00\x01"
    operator = detector(runtime=Runtime(backend=operator.runtime.backend, attempt=1))

    outputs = operator.send(record(transaction("t-2"), offset=8))

    assert one(outputs.main)[1]["transaction_id"] == "t-2"
    assert (letter(outputs)["reason"], letter(outputs)["disposition"]) == ("STATE_CORRUPT", "incident")
    assert not operator.send(record(transaction("t-3"), offset=9)).side["dead-letters"], "the new state is sound"


def test_a_state_is_written_with_each_decision_and_a_new_attempt_begins_with_what_is_stored() -> None:
    """What the failed attempt kept in memory beside the state must not be seen again."""
    operator = detector()
    operator.send(record(transaction()))
    checkpoint = dict(operator.state.values)
    before = one(operator.send(record(transaction("t-2"), offset=8)).main)[1]
    assert operator.state.writes == 2
    operator.state.values = checkpoint

    operator = detector(runtime=Runtime(backend=operator.runtime.backend, attempt=1))

    again = operator.send(record(transaction("t-2"), offset=8))
    assert not again.side["dead-letters"], "it is not taken for a duplicate of what was undone"
    assert one(again.main)[1]["features"] == before["features"]


def test_state_of_a_newer_release_is_left_as_it_is_and_the_event_set_aside() -> None:
    operator = detector()
    body = b"what a newer release knows"
    newer = struct.pack("<BI", NEWEST_VERSION + 1, zlib.crc32(body, NEWEST_VERSION + 1)) + body
    operator.state.values["c-1"] = newer

    outputs = operator.send(record(transaction()))

    assert not outputs.main
    assert letter(outputs)["reason"] == "STATE_VERSION_UNSUPPORTED"
    assert (operator.state.values["c-1"], operator.state.writes) == (newer, 0)


def test_a_state_backend_that_fails_fails_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = detector()

    def fail() -> bytes:
        raise OSError("disk gone")

    monkeypatch.setattr(operator.state, "value", fail)

    with pytest.raises(OSError, match="disk gone"):
        operator.send(record(transaction()))


def test_every_output_keeps_its_contract() -> None:
    operator = detector()
    produced = {"audit": operator.control(control(BLACKLIST_M1)).side["audit"]}
    outputs = operator.send(record(transaction(merchant="m-1")))
    produced |= {"decisions": outputs.main, "alerts": outputs.side["alerts"]}
    produced["dlq"] = operator.send(record(transaction(merchant="m-1"))).side["dead-letters"]

    contracts = load_contracts()
    for suffix, texts in produced.items():
        key, document = one(texts)
        assert key == document[contracts[suffix].key.field], f"{suffix} is keyed as its contract says"


def test_a_line_is_split_at_its_first_line_feed_only() -> None:
    assert list(lines([keyed("key", '{"a":"x"}'), keyed("key", "two\nlines")])) == [
        ("key", '{"a":"x"}'),
        ("key", "two\nlines"),
    ]


def test_a_customer_is_forgotten_when_the_time_to_live_is_over() -> None:
    operator = detector()

    assert operator.state.descriptor.name == uids.CUSTOMER_STATE
    time_to_live = operator.state.descriptor._ttl_config
    assert time_to_live.get_ttl().to_milliseconds() == 30 * 86_400_000
    assert time_to_live.get_update_type() is StateTtlConfig.UpdateType.OnCreateAndWrite
    assert time_to_live.get_state_visibility() is StateTtlConfig.StateVisibility.NeverReturnExpired


@pytest.mark.parametrize("asked", ["embedded", "process"])
def test_the_time_to_live_is_made_without_a_java_gateway(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: PyFlink's defaults started a second JVM beside each TaskManager, and failed in process mode."""
    monkeypatch.setenv("PYFLINK_GATEWAY_DISABLED", "true")
    strategies = detector().state.descriptor._ttl_config.get_cleanup_strategies()

    if asked == "process":
        assert strategies._to_proto().strategies
    else:  # as pyflink.fn_execution.embedded.java_utils asks
        assert not strategies.is_cleanup_in_background()
        assert strategies.get_incremental_cleanup_strategy() is None
        assert strategies.get_rocksdb_compact_filter_cleanup_strategy().get_query_time_after_num_entries() == 10_000


@pytest.mark.parametrize(("wanted", "real"), [("thread", "process"), ("process", "thread")])
def test_another_execution_mode_than_the_one_asked_for_is_refused(wanted: str, real: str) -> None:
    function = FraudDetectorFunction(settings(mode=wanted))

    with pytest.raises(RuntimeError, match=f"runs in {real} mode, not in {wanted} mode.*STREAMFLOW_EXECUTION_MODE"):
        Operator(function, Runtime(mode=real))


def test_both_execution_modes_decide_alike() -> None:
    decisions = []
    for mode in ("thread", "process"):
        operator = Operator(FraudDetectorFunction(settings(mode=mode)), Runtime(mode=mode))
        decisions.append(operator.send(record(transaction())).main)

    assert decisions[0] == decisions[1]


@pytest.mark.parametrize("name", [THREAD_MODULE, PROCESS_MODULE])
def test_the_mode_is_known_by_modules_that_pyflink_has(name: str) -> None:
    assert find_spec(name) is not None
    assert (".embedded." in name) is (name == THREAD_MODULE)


def test_an_action_of_the_same_key_reaches_the_next_transaction() -> None:
    operator = detector()
    assert not operator.send(action_record(action("block")))
    assert not operator.send(action_record(action("block")))
    assert operator.send(action_record(b"{", offset=3)).side["dead-letters"]
    assert operator.send(record(transaction("t-1"))).main
    assert (
        orjson.loads(operator.send(record(transaction("t-2"))).main[0].partition("\n")[2])["actions"][0]["action"]
        == "block"
    )
    operator.function._metrics.flush(0)
    counts = {
        name: operator.runtime.count("account_actions", outcome=name) for name in ("applied", "outdated", "rejected")
    }
    assert counts == {"applied": 1, "outdated": 1, "rejected": 1}
    assert (operator.runtime.count("records"), operator.runtime.count("decisions")) == (2, 2)


def test_an_action_outlives_the_attempt() -> None:
    first = detector()
    first.send(action_record(action("block")))
    second = detector(runtime=replace(first.runtime, attempt=1, metrics={}))
    assert "ACCOUNT_BLOCKED" in second.send(record(transaction("t-1"))).main[0]


def test_an_action_is_never_answered() -> None:
    """An action with the headers of a request is no transaction."""
    operator = detector()
    headers = orjson.dumps({"streamflow-reply-to": "eA=="}).decode()
    assert not operator.send(action_record(b"{")._replace(headers=headers)).side["replies"]
