"""Requests for replies, and the replies themselves."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.replies import REPLY_PARTITION, REPLY_TO, REQUEST_ID, Replies, ReplyRequest, RequestFault, answer
from flink_jobs.core.reply_document import ReplyOutcome
from flink_jobs.kafka.partition_keys import keys_of_partitions, partition_of_key
from tests.unit.core.evaluation import FixedModel

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "streamflow.replies"
NOW_MS = 1_767_225_600_000
REPLIES = Replies(TOPIC, ("a", "b", "c"))
TRANSACTION = {
    "transaction_id": "t-1", "customer_id": "c-1", "amount_minor": 1250, "currency": "USD",
    "event_time_ms": 1_704_067_202_000,
}  # fmt: skip


def asking(headers: dict[str, str], payload: bytes = b"{}") -> SourceRecord:
    packed = orjson.dumps({name: b64encode(value.encode()).decode() for name, value in headers.items()}).decode()
    return SourceRecord(payload, 2, 7, "", packed if headers else "", "c-1", "streamflow.transactions")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"trace": "abc"}, None),
        ({"trace": REPLY_TO}, None),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r-1"}, ReplyRequest("r-1", "r-1")),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r-1", REPLY_PARTITION: "2"}, ReplyRequest("r-1", "c")),
        ({REPLY_TO: "streamflow.alerts", REQUEST_ID: "r-1"}, RequestFault.OTHER_TOPIC),
        ({REPLY_TO: TOPIC}, RequestFault.REQUEST_ID),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r" * 129}, RequestFault.REQUEST_ID),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r\n1"}, RequestFault.REQUEST_ID),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r-1", REPLY_PARTITION: "3"}, RequestFault.PARTITION),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r-1", REPLY_PARTITION: "-1"}, RequestFault.PARTITION),
        ({REPLY_TO: TOPIC, REQUEST_ID: "r-1", REPLY_PARTITION: "9" * 5_000}, RequestFault.PARTITION),
        ({REPLY_TO: TOPIC, REQUEST_ID: "é"}, RequestFault.UNREADABLE),
    ],
)
def test_only_a_valid_request_for_our_topic_is_answered(
    headers: dict[str, str], found: ReplyRequest | RequestFault | None
) -> None:
    assert REPLIES.request(asking(headers)) == found


def test_headers_that_are_no_json_object_are_no_request() -> None:
    record = asking({})._replace(headers=f"[{REPLY_TO}")
    assert REPLIES.request(record) is None


def replied(payload: bytes, evaluator: TransactionEvaluator, state: bytes | None = None) -> tuple[Outcome, Any]:
    record = asking({"x": "y"}, payload)
    outcome = evaluator.evaluate(record, lambda: state, NOW_MS)
    reply = answer(ReplyRequest("r-1", "b"), record, outcome, NOW_MS)
    assert reply is not None
    assert reply.key == "b"
    return outcome, orjson.loads(reply.body)


def test_a_reply_holds_the_decision_in_short(problems: Callable[[str, object], list[str]]) -> None:
    outcome, reply = replied(orjson.dumps(TRANSACTION), TransactionEvaluator())
    decision = orjson.loads(outcome.decision or "")
    assert problems("replies", reply) == []
    assert reply["outcome"] == ReplyOutcome.DECIDED
    same = ("transaction_id", "customer_id", "score", "threshold", "is_alert", "model", "model_version", "source")
    assert {name: reply[name] for name in same} == {name: decision[name] for name in same}
    assert reply["reasons"] == [item["code"] for item in decision["reasons"]]
    assert (reply["is_alert"], reply["schema_version"], "contributions" in reply) == (False, 1, False)


@pytest.mark.parametrize("explains", [True, False])
def test_the_reply_to_an_alert_has_the_contributions_of_the_alert(
    problems: Callable[[str, object], list[str]],
    *,
    explains: bool,
) -> None:
    evaluator = TransactionEvaluator(DetectionConfig(alert_threshold=0.0), FixedModel(0.9) if explains else None)
    outcome, reply = replied(orjson.dumps(TRANSACTION), evaluator)
    alert = orjson.loads(outcome.alert or "")
    assert problems("replies", reply) == []
    assert reply["schema_version"] == 3
    assert (reply["contributions"] is not None) is explains
    assert reply["contributions"] == alert["contributions"]
    assert list(zip(reply["reasons"], reply["reason_contributions"], strict=True)) == [
        (item["code"], item["contribution"]) for item in alert["reasons"]
    ]


def test_a_rejected_record_and_a_redelivered_one_are_answered(problems: Callable[[str, object], list[str]]) -> None:
    _, rejected = replied(b"not json", TransactionEvaluator())
    assert problems("replies", rejected) == []
    assert (rejected["outcome"], rejected["rejection"]) == ("rejected", "MALFORMED_JSON")
    evaluator = TransactionEvaluator()
    outcome, _ = replied(orjson.dumps(TRANSACTION), evaluator)
    _, again = replied(orjson.dumps(TRANSACTION), evaluator, outcome.state)
    assert problems("replies", again) == []
    assert (again["outcome"], again["transaction_id"], again["score"]) == ("duplicate", "t-1", None)


def test_each_partition_of_the_topic_has_its_key() -> None:
    partitions = load_contracts()["replies"].partitions
    keys = keys_of_partitions(partitions)
    assert [partition_of_key(key, partitions) for key in keys] == list(range(partitions))
