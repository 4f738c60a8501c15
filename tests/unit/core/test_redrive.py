"""Which letters may be sent again, and what a record that is sent again carries."""

from __future__ import annotations

from base64 import b64encode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.dead_letters.letter import build_dlq_record, encode_dlq_record
from flink_jobs.core.dead_letters.policies import REDRIVE_POLICIES, RedriveMethod, policy_of
from flink_jobs.core.dead_letters.redrive import (
    HEADER_LETTER,
    HEADER_ORIGIN,
    HEADER_PREFIX,
    HEADER_REPLAY,
    HEADER_RUN,
    NO_HISTORY,
    RedriveHistory,
    customer_of,
    is_parked,
    judge,
    parent_of,
    place_of,
    redrive_headers,
    replays_of,
)
from flink_jobs.core.documents import DeadLetterDocument, Finding
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.label import Label
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from tests.strategies import NOW_MS, Document, documents, record_of

LIMIT = 3
GOOD = orjson.dumps(
    {"transaction_id": "t", "customer_id": "c", "amount_minor": 5, "currency": "EUR", "event_time_ms": NOW_MS}
)


def decoded(letter: DeadLetterDocument) -> DeadLetterDocument:
    """Return a dead letter as its readers get it."""
    document: DeadLetterDocument = orjson.loads(encode_dlq_record(letter))
    return document


def letter(
    payload: bytes = GOOD, reason: DeadLetterReason = DeadLetterReason.PROCESSING_ERROR, headers: str = ""
) -> DeadLetterDocument:
    body = build_dlq_record(
        record_of(payload, headers=headers), reason, PipelineStage.PARSE, "", Disposition.REJECTED, NOW_MS
    )
    return decoded(body)


def came_back(first: DeadLetterDocument, run: str = "rd-1", payload: bytes = GOOD) -> DeadLetterDocument:
    """Return the letter that the redriven record of another became: the detector copies headers."""
    headers = {name: b64encode(value).decode() for name, value in redrive_headers(first, run)}
    record = record_of(payload, offset=first["offset"] + 100, headers=orjson.dumps(headers).decode())
    reason = DeadLetterReason.PROCESSING_ERROR
    body = build_dlq_record(record, reason, PipelineStage.SCORE, "", Disposition.REJECTED, NOW_MS)
    return decoded(body)


def test_a_reason_of_a_newer_release_is_never_redriven() -> None:
    assert policy_of({**letter(), "reason": "OF_A_NEWER_RELEASE"}).method is RedriveMethod.NEVER


NEVER = [reason for reason, policy in REDRIVE_POLICIES.items() if policy.method is RedriveMethod.NEVER]


@pytest.mark.parametrize("reason", NEVER)
def test_what_was_decided_is_never_sent_again_even_forced(reason: DeadLetterReason) -> None:
    """A duplicate that is redriven outside the window for duplicates would be decided a second time."""
    assert DeadLetterReason.DUPLICATE_TRANSACTION in NEVER
    verdict = judge(letter(reason=reason), GOOD, NO_HISTORY, LIMIT, NOW_MS, is_edited=True, is_forced=True)
    assert not verdict.is_allowed
    assert verdict.why.startswith("never: ")


def test_a_record_that_was_redriven_is_not_redriven_again_even_forced() -> None:
    verdict = judge(letter(), GOOD, RedriveHistory(is_done=True), LIMIT, NOW_MS, is_forced=True)
    assert verdict == (False, "redriven already")


@given(documents)
def test_bytes_that_parse_by_now_go(document: Document) -> None:
    one = letter(orjson.dumps(document), DeadLetterReason.EVENT_TIME_IN_FUTURE)
    assert judge(one, orjson.dumps(document), NO_HISTORY, LIMIT, NOW_MS) == (True, "as it is")


def test_bytes_that_the_parser_refuses_still_stay_unless_forced() -> None:
    bad = GOOD.replace(b'"amount_minor":5', b'"amount_minor":-5')
    one = letter(bad, DeadLetterReason.NEGATIVE_AMOUNT)
    stays = judge(one, bad, NO_HISTORY, LIMIT, NOW_MS)
    assert not stays.is_allowed
    assert stays.why.startswith("would be rejected again: NEGATIVE_AMOUNT, ")
    assert judge(one, bad, NO_HISTORY, LIMIT, NOW_MS, is_forced=True) == (True, "as it is, forced")
    assert judge(one, GOOD, NO_HISTORY, LIMIT, NOW_MS, is_edited=True) == (True, "edited")


def test_a_document_with_two_customers_goes_only_edited() -> None:
    one = letter(reason=DeadLetterReason.KEY_MISMATCH)
    assert not judge(one, GOOD, NO_HISTORY, LIMIT, NOW_MS, is_forced=True).is_allowed
    assert judge(one, GOOD, NO_HISTORY, LIMIT, NOW_MS, is_edited=True).is_allowed


def test_a_record_whose_bytes_are_gone_stays() -> None:
    verdict = judge(letter(), None, NO_HISTORY, LIMIT, NOW_MS, is_forced=True)
    assert verdict == (
        False,
        "only the beginning of the payload is stored: edit it, with the complete payload from its producer",
    )


def test_a_refused_row_goes_to_its_table_whatever_the_parser_of_transactions_says() -> None:
    one = letter(b'{"score":1}', DeadLetterReason.ROW_REFUSED)
    assert judge(one, b'{"score":1}', NO_HISTORY, LIMIT, NOW_MS) == (True, "into its table")
    assert (
        judge(one, b"", RedriveHistory(refusals=LIMIT), LIMIT, NOW_MS).why
        == "parked: became a dead letter again after 3 replays"
    )


def test_a_label_goes_when_it_is_one() -> None:
    valid = orjson.dumps(Label("t", "c", Finding.FRAUD, "analyst", NOW_MS, "somebody").document())
    one = letter(b"{}", DeadLetterReason.LABEL_INVALID)
    assert (
        judge(one, b"{}", NO_HISTORY, LIMIT, NOW_MS, is_forced=True).why
        == "would be rejected again: schema_version must be 1 or 2 or 3"
    )
    assert judge(one, valid, NO_HISTORY, LIMIT, NOW_MS, is_edited=True).is_allowed


def test_a_record_that_keeps_coming_back_is_parked_until_forced() -> None:
    one = letter()
    for replays in range(LIMIT):
        assert (replays_of(one), is_parked(one, LIMIT)) == (replays, False)
        assert judge(one, GOOD, NO_HISTORY, LIMIT, NOW_MS).is_allowed
        one = came_back(one)
    assert is_parked(one, LIMIT)
    assert judge(one, GOOD, NO_HISTORY, LIMIT, NOW_MS) == (False, "parked: became a dead letter again after 3 replays")
    assert judge(one, GOOD, NO_HISTORY, LIMIT, NOW_MS, is_forced=True).is_allowed


def test_the_headers_name_the_letter_the_first_record_and_the_run() -> None:
    first = letter(headers='{"trace":"YWJj"}')
    again = came_back(came_back(first), run="rd-2")
    headers = dict(redrive_headers(again, "rd-3"))
    assert headers == {
        "trace": b"abc",
        HEADER_LETTER: again["dlq_id"].encode(),
        HEADER_ORIGIN: place_of(first).encode(),
        HEADER_REPLAY: b"3",
        HEADER_RUN: b"rd-3",
    }
    assert parent_of(again) != parent_of(first)
    assert parent_of(first) is None
    assert parent_of(came_back(first)) == first["dlq_id"]


def test_a_senders_own_header_of_that_name_is_no_count() -> None:
    forged = letter(headers=orjson.dumps({HEADER_PREFIX + "replay": b64encode(b"-1x").decode()}).decode())
    assert replays_of(forged) == 0


def test_the_detector_takes_a_redriven_record_like_any_other() -> None:
    headers = {name: b64encode(value).decode() for name, value in redrive_headers(letter(), "rd-1")}
    record = record_of(GOOD, headers=orjson.dumps(headers).decode())._replace(routing_key="c")
    outcome = TransactionEvaluator().evaluate(record, lambda: None, NOW_MS)
    assert outcome.decision is not None


@pytest.mark.parametrize(
    ("payload", "customer"),
    [
        (GOOD, "c"),
        (b'{"customer_id": "c-9", "amount', "c-9"),
        (b'{"customer_id": 9}', None),
        (b"[1]", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_the_customer_of_a_payload(payload: bytes, customer: str | None) -> None:
    assert customer_of(payload) == customer


@given(st.binary(max_size=200))
def test_a_customer_is_looked_for_in_any_bytes(payload: bytes) -> None:
    name = customer_of(payload)
    assert name is None or name.encode() in payload or b"\\" in payload
