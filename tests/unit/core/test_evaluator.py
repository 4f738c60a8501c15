"""Every way a record can end, and that there is no other."""

import hashlib
import struct
import zlib
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES
from flink_jobs.core.dead_letters.rejections import incident, rejected_by_error
from flink_jobs.core.decision import alert_id
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import WholePayload
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES
from flink_jobs.core.reasons import DeadLetterReason as Why
from flink_jobs.core.reasons import Disposition, PipelineStage, ReasonCode
from flink_jobs.core.scoring import Blender, OwnBlend
from flink_jobs.core.state.codec import NEWEST_VERSION
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.native.loader import core_in_use
from tests.strategies import (
    NOW_MS,
    configs,
    document_of,
    documents,
    histories,
    mutated_documents,
    record_of,
    states,
    wire,
)
from tests.unit.core.evaluation import FixedModel, Stream, parts

HOUR_MS = 3_600_000


def document(name: str = "t-1", **fields: object) -> dict[str, Any]:
    return {
        "transaction_id": name,
        "customer_id": "c-1",
        "amount_minor": 1_000,
        "currency": "USD",
        "event_time_ms": NOW_MS - HOUR_MS,
        "merchant": "m-1",
        **fields,
    }


def only_letter(outcome: Outcome) -> dict[str, Any]:
    decision, alert, letters = parts(outcome)
    assert decision is None
    assert alert is None
    [letter] = letters
    return letter


def test_the_first_transaction_of_a_customer() -> None:
    stream = Stream()
    outcome = stream.send(record_of(wire(document()), offset=42))
    decision, alert, letters = parts(outcome)
    assert decision == {
        "schema_version": 2,
        "transaction_id": "t-1",
        "customer_id": "c-1",
        "event_time_ms": NOW_MS - HOUR_MS,
        "processing_time_ms": NOW_MS,
        "amount_minor": 1_000,
        "currency": "USD",
        "merchant": "m-1",
        "category": None,
        "channel": None,
        "country": None,
        "score": 0.0,
        "rule_score": 0.0,
        "ml_score": None,
        "alpha": 0.0,
        "threshold": 0.4,
        "is_alert": False,
        "features": {
            "amount_zscore": None,
            "velocity_count": 1.0,
            "time_deviation": None,
            "geo_speed_kmh": None,
            "is_blacklisted": 0.0,
            "amount_ratio": None,
            "category_surprise": None,
            "category_share": None,
            "is_night": 1.0,
            "night_share_24h": 0.5,
            "surprise_24h": pytest.approx(0.8),
            "spend_24h": None,
            "velocity_24h_ratio": 1.0,
        },
        "absent": {
            "amount_zscore": "insufficient_history",
            "time_deviation": "insufficient_history",
            "geo_speed_kmh": "no_location",
            "amount_ratio": "insufficient_history",
            "category_surprise": "insufficient_history",
            "category_share": "no_category",
            "spend_24h": "insufficient_history",
        },
        "reasons": [],
        "model": "degraded",
        "model_version": None,
        "variant": "champion",
        "shadow": None,
        "ruleset_version": "2",
        "config_revision": 0,
        "out_of_order_ms": 0,
        "source": {"topic": "streamflow.transactions", "partition": 2, "offset": 42},
    }
    assert (alert, letters) == (None, [])
    state = CustomerFraudState.from_bytes(stream.states["c-1"])
    assert state.has_seen(transaction_fingerprint("t-1"))


def test_an_alert_names_its_reasons_in_order() -> None:
    stream = Stream(TransactionEvaluator(DetectionConfig(blacklist=Blacklist(merchant=frozenset({"bad"})))))
    for index in range(6):
        stream.send(record_of(wire(document(f"t-{index}", event_time_ms=NOW_MS - HOUR_MS + index * 1_000))))
    outcome = stream.send(record_of(wire(document("t-x", merchant="bad", amount_minor=10**9, country="US"))))
    decision, alert, _ = parts(outcome)
    assert decision is not None
    assert alert is not None
    assert [reason["code"] for reason in alert["reasons"]] == ["BLACKLISTED", "HIGH_AMOUNT"]
    assert decision["score"] == 1.0
    assert alert["alert_id"] == alert_id("c-1", "t-x") == alert_id("c-1", "t-x")
    assert alert["country"] == "US"
    assert outcome.reasons == (ReasonCode.BLACKLISTED, ReasonCode.HIGH_AMOUNT)


def test_alert_ids_are_pinned_and_do_not_collide_where_names_are_joined() -> None:
    assert alert_id("c-1", "t-1") == "al_9ba9afa6174925dd67cff89ddbac3575"
    assert alert_id("a", "b c") != alert_id("a b", "c")


def test_a_score_at_the_threshold_is_an_alert() -> None:
    config = DetectionConfig(alpha=1.0, alert_threshold=0.7)
    exactly = Stream(TransactionEvaluator(config, FixedModel(0.7))).send(record_of(wire(document())))
    below = Stream(TransactionEvaluator(config, FixedModel(0.6999999))).send(record_of(wire(document())))
    assert exactly.alert is not None
    assert below.alert is None


def test_each_model_scores_under_its_own_blend() -> None:
    champion, shadow = FixedModel(0.5), FixedModel(0.5)
    champion.own_blend, shadow.own_blend = OwnBlend(0.8, 0.4), OwnBlend(0.9, 0.5)
    stream = Stream(TransactionEvaluator(model=champion))
    stream.evaluator.lineup.use_shadow(shadow)
    decision, alert, _ = parts(stream.send(record_of(wire(document("t-1")))))
    assert decision is not None
    assert alert is not None
    assert (decision["alpha"], decision["threshold"], decision["score"]) == (0.8, 0.4, pytest.approx(0.4))
    assert (decision["shadow"]["score"], decision["shadow"]["is_alert"]) == (pytest.approx(0.45), False)
    stream.evaluator.configure(DetectionConfig(alpha=0.3, alpha_is_set=True))
    decision, _, _ = parts(stream.send(record_of(wire(document("t-2")))))
    assert decision is not None
    assert (decision["alpha"], decision["threshold"], decision["is_alert"]) == (0.3, 0.4, False)


def test_the_model_gets_the_features_as_they_are() -> None:
    model = FixedModel(0.25)
    decision, _, _ = parts(Stream(TransactionEvaluator(model=model)).send(record_of(wire(document()))))
    assert decision is not None
    assert [features._asdict() for features in model.seen] == [decision["features"]]
    assert (decision["model"], decision["model_version"], decision["ml_score"]) == ("ok", "if-test", 0.25)
    assert (decision["alpha"], decision["score"]) == (0.6, pytest.approx(0.15))


def test_a_new_configuration_and_model_hold_from_the_next_record_on() -> None:
    stream = Stream()
    stream.send(record_of(wire(document("t-1"))))
    config = DetectionConfig(revision=3, alert_threshold=0.1, blacklist=Blacklist(customer=frozenset({"c-1"})))
    stream.evaluator.configure(config)
    stream.evaluator.lineup.use_champion(FixedModel(1.0))
    decision, alert, _ = parts(stream.send(record_of(wire(document("t-2")))))
    assert decision is not None
    assert alert is not None
    assert (decision["config_revision"], decision["ruleset_version"]) == (3, "2+r3")
    assert decision["model"] == "ok"


def test_a_redelivery_is_not_scored_twice() -> None:
    stream = Stream()
    stream.send(record_of(wire(document()), offset=1))
    before = stream.states["c-1"]
    letter = only_letter(stream.send(record_of(wire(document(amount_minor=99)), offset=2)))
    assert (letter["reason"], letter["disposition"], letter["stage"]) == (
        "DUPLICATE_TRANSACTION",
        "duplicate",
        "deduplicate",
    )
    assert stream.states["c-1"] == before


def test_the_same_id_of_another_customer_is_another_transaction() -> None:
    stream = Stream()
    stream.send(record_of(wire(document())))
    outcome = stream.send(record_of(wire(document(customer_id="c-2")), "c-2"))
    assert outcome.decision is not None


def test_a_late_event_says_how_late_it_is() -> None:
    stream = Stream()
    stream.send(record_of(wire(document("t-1", event_time_ms=NOW_MS))))
    decision, _, _ = parts(stream.send(record_of(wire(document("t-2", event_time_ms=NOW_MS - 5_000)))))
    assert decision is not None
    assert decision["out_of_order_ms"] == 5_000
    assert decision["features"]["velocity_count"] == 1.0


@pytest.mark.parametrize("key", ["", "c-2", "C-1", "c-1 "])
def test_a_record_under_another_key_touches_no_state(key: str) -> None:
    stream = Stream()
    letter = only_letter(stream.send(record_of(wire(document()), key)))
    assert (letter["reason"], letter["stage"]) == ("KEY_MISMATCH", "route")
    assert stream.reads == 0


def test_a_reject_reads_no_state() -> None:
    stream = Stream()
    letter = only_letter(stream.send(record_of(b"{")))
    assert (letter["reason"], letter["stage"], letter["disposition"]) == ("MALFORMED_JSON", "parse", "rejected")
    assert stream.reads == 0


@pytest.mark.parametrize("damage", [b"", b"\0" * 5, b"garbage", b"\x01" * 200])
def test_a_corrupt_state_starts_fresh_and_is_an_incident(damage: bytes) -> None:
    stream = Stream()
    stream.states["c-1"] = damage
    decision, _, [letter] = parts(stream.send(record_of(wire(document()))))
    assert decision is not None
    assert decision["features"]["velocity_count"] == 1.0
    assert (letter["reason"], letter["stage"], letter["disposition"]) == ("STATE_CORRUPT", "state", "incident")
    fresh = Stream()
    fresh.send(record_of(wire(document())))
    assert stream.states == fresh.states


def test_a_newer_state_is_left_alone_and_the_event_set_aside() -> None:
    body = CustomerFraudState().to_bytes()[5:]
    newer = struct.pack("<BI", NEWEST_VERSION + 1, zlib.crc32(body, NEWEST_VERSION + 1)) + body
    stream = Stream()
    stream.states["c-1"] = newer
    letter = only_letter(stream.send(record_of(wire(document()))))
    assert (letter["reason"], letter["disposition"]) == ("STATE_VERSION_UNSUPPORTED", "rejected")
    assert f"version {NEWEST_VERSION + 1}" in letter["detail"]
    assert stream.states == {"c-1": newer}


@pytest.mark.skipif(core_in_use() == "compiled", reason="a compiled module's own functions cannot be replaced")
def test_a_defect_of_ours_sets_the_event_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "4111111111111111"

    def broken(*_: object) -> None:
        raise ValueError(f"cannot blend {secret}")

    monkeypatch.setattr(Blender, "score", broken)
    stream = Stream()
    letter = only_letter(stream.send(record_of(wire(document()))))
    assert (letter["reason"], letter["stage"], letter["disposition"]) == ("PROCESSING_ERROR", "score", "rejected")
    assert "ValueError in test_evaluator.py, line " in letter["detail"]
    assert secret not in letter["detail"], "guards a defect: the message of an exception may quote card data"
    assert stream.states == {}
    stream.states["c-1"] = b"garbage"
    _, _, letters = parts(stream.send(record_of(wire(document()))))
    assert [letter["reason"] for letter in letters] == ["STATE_CORRUPT", "PROCESSING_ERROR"], "both are told"
    assert stream.states == {"c-1": b"garbage"}


def test_a_parser_that_raises_sets_the_event_aside() -> None:
    def broken(_raw: bytes | None, _now_ms: int) -> NoReturn:
        raise RecursionError

    letter = only_letter(Stream(TransactionEvaluator(parse=broken)).send(record_of(b"x")))
    assert (letter["reason"], letter["stage"]) == ("PROCESSING_ERROR", "parse")


@pytest.mark.parametrize("size", [MAX_PAYLOAD_BYTES + 1, 1_000_000])
def test_a_payload_of_which_only_the_beginning_came_makes_the_letter_of_the_whole(size: int) -> None:
    """Guards a defect: a message of 50 MB kept one task handing it to the next for hours."""
    payload = b"\xff" * size
    whole = WholePayload(size, hashlib.sha256(payload).hexdigest())
    cut = record_of(payload[:MAX_PAYLOAD_KEPT_BYTES])._replace(whole=whole)
    letter = only_letter(Stream().send(cut))
    assert letter == only_letter(Stream().send(record_of(payload)))
    assert (letter["reason"], letter["payload_length"], letter["payload_truncated"]) == ("OVERSIZE", size, True)


def test_an_error_without_a_trace_is_told_too() -> None:
    outcome = rejected_by_error(record_of(b"x"), PipelineStage.SCORE, ValueError("secret"), (), NOW_MS)
    letter = only_letter(outcome)
    assert "ValueError in unknown code" in letter["detail"]
    assert "secret" not in letter["detail"]


def test_a_state_backend_that_fails_fails_the_task() -> None:
    """Guards a defect: the failure became a dead letter, so an outage of the backend lost every event."""

    def read_state() -> bytes | None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        TransactionEvaluator().evaluate(record_of(wire(document())), read_state, NOW_MS)


def test_an_incident_beside_an_event() -> None:
    letter = incident(record_of(b"x"), Why.CONTROL_INVALID, PipelineStage.CONTROL, "why", NOW_MS)
    assert (letter.disposition, letter.reason) == (Disposition.INCIDENT, Why.CONTROL_INVALID)


# ---- for anything --------------------------------------------------------------------------------------------


@given(
    st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=100) | states.map(CustomerFraudState.to_bytes)
)
def test_no_bytes_and_no_state_raise(payload: bytes | None, blob: bytes | None) -> None:
    stream = Stream()
    if blob is not None:
        stream.states["c-1"] = blob
    stream.send(record_of(payload))


@given(mutated_documents() | documents, configs, st.none() | st.floats(0, 1), states)
def test_any_document_under_any_configuration(
    fields: dict[str, Any], config: DetectionConfig, ml_score: float | None, state: CustomerFraudState
) -> None:
    model = None if ml_score is None else FixedModel(ml_score)
    stream = Stream(TransactionEvaluator(config, model))
    key = fields.get("customer_id")
    key = key.replace("\n", " ") if isinstance(key, str) else ""
    stream.states[key] = state.to_bytes()
    outcome = stream.send(record_of(wire(fields), key))
    assert outcome.decision is None or outcome.letters == ()


@given(histories(), configs, st.floats(0, 1))
def test_a_history_is_decided_once_each_and_again_the_same(
    history: list[Any], config: DetectionConfig, ml: float
) -> None:
    outcomes = []
    for _ in range(2):
        stream = Stream(TransactionEvaluator(config, FixedModel(ml)))
        outcomes.append([stream.send(record_of(wire(document_of(event)))) for event in history])
    assert outcomes[0] == outcomes[1]
