"""Replies: a compact decision for a producer that waits for it.

A producer asks with headers on its transaction. Only the installation's own topic is a legal target, so a producer
cannot make the job write elsewhere. A record with an invalid request is scored like any other and gets no reply.

A reply leaves at once, at least once: the ledger is the decision, which is readable after the next checkpoint. After a
failure of the job a reply can come again, and differ where a control message took effect in between.
"""

from base64 import b64decode
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from flink_jobs.core.documents import AlertDocument, DeadLetterDocument, DecisionDocument
from flink_jobs.core.outcome import DeadLetter, Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import Disposition
from flink_jobs.core.reply_document import ReplyDocument, ReplyOutcome

REPLY_SCHEMA_VERSION: Final = 1
REPLY_WITH_PROBABILITY: Final = 2
"""Schema version of a reply with a probability and without an alert."""
REPLY_TO_ALERT: Final = 3
"""Schema version of the reply to an alert, with the contributions; every other reply is written as before."""
REPLY_TO: Final = "streamflow-reply-to"
"""Header: the full name of the replies topic. A record with this header asks for a reply."""
REQUEST_ID: Final = "streamflow-request-id"
"""Header: 1 to 128 printable ASCII characters, which the reply repeats."""
REPLY_PARTITION: Final = "streamflow-reply-partition"
"""Header, optional: the partition of the reply as a decimal number; without it, the request id selects one."""
_LONGEST_ID: Final = 128
_LONGEST_NUMBER: Final = 5


class RequestFault(StrEnum):
    """Why a request for a reply is not answered."""

    UNREADABLE = "unreadable"
    """The headers are not text."""
    OTHER_TOPIC = "other_topic"
    REQUEST_ID = "request_id"
    PARTITION = "partition"


class ReplyRequest(NamedTuple):
    """A valid request for a reply."""

    request_id: str
    route: str
    """The message key of the reply; Kafka's partitioner maps it to the partition that was asked for."""


class Reply(NamedTuple):
    """An encoded reply, with its message key and the label under which the metrics count it."""

    key: str
    body: str
    outcome: ReplyOutcome


class Replies:
    """Answers the requests of one installation."""

    def __init__(self, topic: str, routes: tuple[str, ...]) -> None:
        """Set the only legal target.

        Args:
            topic: full name of the replies topic.
            routes: for each partition, a key that Kafka's partitioner maps to it.
        """
        self._topic = topic
        self._routes = routes

    def request(self, record: SourceRecord) -> ReplyRequest | RequestFault | None:
        """Return the request of a record, why it is invalid, or ``None`` without a request."""
        if REPLY_TO not in record.headers:
            return None
        try:
            headers = {name: b64decode(value or "").decode("ascii") for name, value in record.header_list}
        except ValueError:
            return RequestFault.UNREADABLE
        # Without the header of this name, the text is part of another header.
        return self._checked(headers) if REPLY_TO in headers else None

    def _checked(self, headers: dict[str, str]) -> ReplyRequest | RequestFault:
        request_id, wanted = headers.get(REQUEST_ID, ""), headers.get(REPLY_PARTITION)
        if headers[REPLY_TO] != self._topic:
            return RequestFault.OTHER_TOPIC
        if not 0 < len(request_id) <= _LONGEST_ID or not request_id.isprintable():
            return RequestFault.REQUEST_ID
        if wanted is None:
            return ReplyRequest(request_id, request_id)
        if not wanted.isdigit() or len(wanted) > _LONGEST_NUMBER or int(wanted) >= len(self._routes):
            return RequestFault.PARTITION
        return ReplyRequest(request_id, self._routes[int(wanted)])


def answer(request: ReplyRequest, record: SourceRecord, outcome: Outcome, now_ms: int) -> Reply | None:
    """Return the reply to a request; ``None`` for an outcome without a decision and without a dead letter.

    Args:
        request: the valid request of the record.
        record: the record.
        outcome: the result of ``TransactionEvaluator.evaluate``.
        now_ms: the job's clock, ms since the epoch, UTC.
    """
    reply: ReplyDocument = {
        "schema_version": REPLY_SCHEMA_VERSION,
        "request_id": request.request_id,
        "route": request.route,
        "outcome": ReplyOutcome.DECIDED,
        "transaction_id": None,
        "customer_id": None,
        "score": None,
        "threshold": None,
        "is_alert": None,
        "reasons": [],
        "rejection": None,
        "detail": None,
        "model": None,
        "model_version": None,
        "ruleset_version": None,
        "config_revision": None,
        "processing_time_ms": now_ms,
        "source": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
    }
    if outcome.decision is not None:
        decision: DecisionDocument = orjson.loads(outcome.decision)
        reply["transaction_id"] = decision["transaction_id"]
        reply["customer_id"] = decision["customer_id"]
        reply["score"] = decision["score"]
        reply["threshold"] = decision["threshold"]
        reply["is_alert"] = decision["is_alert"]
        reply["reasons"] = [reason["code"] for reason in decision["reasons"]]
        reply["model"] = decision["model"]
        reply["model_version"] = decision["model_version"]
        reply["ruleset_version"] = decision["ruleset_version"]
        reply["config_revision"] = decision["config_revision"]
        if "fraud_probability" in decision:
            reply["schema_version"] = REPLY_WITH_PROBABILITY
            reply["fraud_probability"] = decision["fraud_probability"]
        if outcome.alert is not None:
            alert: AlertDocument = orjson.loads(outcome.alert)
            reply["schema_version"] = REPLY_TO_ALERT
            reply["reason_contributions"] = [reason["contribution"] for reason in alert["reasons"]]
            reply["contributions"] = alert["contributions"]
    elif outcome.letters:
        _add_rejection(reply, outcome.letters[-1], record)
    else:
        return None
    return Reply(request.route, orjson.dumps(reply).decode(), reply["outcome"])


def _add_rejection(reply: ReplyDocument, letter: DeadLetter, record: SourceRecord) -> None:
    """Add the reason of a record's own dead letter. The ids of a duplicate are valid: its payload was parsed."""
    body: DeadLetterDocument = orjson.loads(letter.body)
    reply["rejection"] = letter.reason.value
    reply["detail"] = body["detail"]
    reply["outcome"] = ReplyOutcome.REJECTED
    if letter.disposition is Disposition.DUPLICATE:
        reply["outcome"] = ReplyOutcome.DUPLICATE
        transaction: dict[str, Any] = orjson.loads(record.payload or b"{}")
        reply["transaction_id"] = transaction["transaction_id"]
        reply["customer_id"] = transaction["customer_id"]
