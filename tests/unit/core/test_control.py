"""Control messages: all or nothing, and each kind of wrong one says what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DEFAULT_ALERT_THRESHOLD, DEFAULT_ALPHA, DetectionConfig
from flink_jobs.core.control.experiment import Experiment, GuardBand, ModelRef
from flink_jobs.core.control.messages import (
    MAX_BLACKLIST_ENTRIES,
    MAX_CONTROL_BYTES,
    ControlMessage,
    ControlRefusal,
    apply_control,
    control_id_of,
    end_of_experiment,
    parse_control,
    version_of,
)
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.rules import DEFAULT_RULE_SETTINGS, RuleSetting
from tests.strategies import configs, json_values

VALID: dict[str, Any] = {
    "schema_version": 2,
    "control_id": "ctl-1",
    "issued_by": "analyst@example.org",
    "issued_at_ms": 1_767_225_600_000,
    "reason": "quarterly review",
    "expected_revision": None,
    "changes": {"alpha": 0.7},
}


def raw(**fields: object) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


def message(control_id: str = "ctl-1", expected: int | None = None, **changes: object) -> ControlMessage:
    parsed = parse_control(raw(control_id=control_id, expected_revision=expected, changes=changes))
    assert isinstance(parsed, ControlMessage), parsed
    return parsed


def applied(config: DetectionConfig, control: ControlMessage) -> DetectionConfig:
    answer = apply_control(config, control)
    assert isinstance(answer, DetectionConfig), answer
    return answer


DIGEST = "ab" * 32
GUARD = {"min_decisions": 100, "max_alert_rate_ratio": 2, "min_alert_rate_ratio": 0.5, "max_error_share": 0.01}
TRIAL = {"id": "spring", "version": "gb-1", "digest": DIGEST, "share": 0.1, "guard": GUARD}


def trial(**fields: object) -> bytes:
    return raw(changes={"experiment": {**TRIAL, **fields}})


INVALID: dict[str, tuple[bytes | None, str]] = {
    "a shadow in version 1": (raw(schema_version=1, changes={"shadow_model": None}), "unknown fields"),
    "an expected experiment in version 1": (raw(schema_version=1, expected_experiment="x"), "needs schema_version"),
    "an experiment as a number": (raw(expected_experiment=7), "expected_experiment must be 1 to 64"),
    "a digest alone": (raw(changes={"model_digest": DIGEST}), "needs changes.model_version beside it"),
    "half a digest": (raw(changes={"model_version": "v", "model_digest": "ab"}), "64 hexadecimal digits"),
    "a shadow without digest": (raw(changes={"shadow_model": {"version": "v"}}), "shadow_model lacks digest"),
    "a shadow of its own kind": (
        raw(changes={"shadow_model": {"version": "v", "digest": DIGEST, "share": 1}}),
        "unknown fields, such as 'share'",
    ),
    "a shadow that is a path": (
        raw(changes={"shadow_model": {"version": "../v", "digest": DIGEST}}),
        "shadow_model.version must be",
    ),
    "an experiment without a guard": (
        raw(changes={"experiment": {key: TRIAL[key] for key in TRIAL if key != "guard"}}),
        "experiment lacks guard",
    ),
    "more than all customers": (trial(share=1.1), "experiment.share must be a number from 0 to 1"),
    "an id that is a sentence": (trial(id="a b"), "experiment.id must be"),
    "few decisions": (trial(guard={**GUARD, "min_decisions": 19}), "a whole number from 20 to 100000"),
    "decisions and a half": (trial(guard={**GUARD, "min_decisions": 99.5}), "a whole number from 20 to 100000"),
    "a band upside down": (trial(guard={**GUARD, "min_alert_rate_ratio": 3}), "min_alert_rate_ratio <= max"),
    "a band down to nothing": (trial(guard={**GUARD, "min_alert_rate_ratio": 0}), "0.001 <= min_alert_rate_ratio"),
    "a band of truth": (trial(guard={**GUARD, "max_alert_rate_ratio": True}), "max_alert_rate_ratio <= 1000"),
    "errors beyond all": (trial(guard={**GUARD, "max_error_share": 2}), "max_error_share must be"),
    "tombstone": (None, "1 to 262144 bytes"),
    "no bytes": (b"", "1 to 262144 bytes"),
    "too large": (raw(reason="x" * MAX_CONTROL_BYTES), "1 to 262144 bytes"),
    "no JSON": (b"{", "not JSON"),
    "no UTF-8": (b'"\xff"', "not JSON"),
    "a list": (b"[]", "the message must be a JSON object"),
    "an unknown field": (raw(alpha=0.5), "unknown fields, such as 'alpha'"),
    "no schema version": (b"{}", "schema_version must be 1"),
    "a later schema version": (raw(schema_version=4), "schema_version must be 1 to 3"),
    "true is no version": (raw(schema_version=True), "schema_version must be 1"),
    "no id": (raw(control_id=""), "control_id must be"),
    "a number as id": (raw(control_id=1), "control_id must be"),
    "a long id": (raw(control_id="x" * 257), "control_id must be 1 to 256"),
    "a line break in an id": (raw(control_id="a\nb"), "control_id must be"),
    "nobody": (raw(issued_by=None), "issued_by must be"),
    "no reason": (raw(reason=""), "reason must be"),
    "a time in words": (raw(issued_at_ms="now"), "issued_at_ms must be"),
    "a negative time": (raw(issued_at_ms=-1), "issued_at_ms must be"),
    "a time no database holds": (raw(issued_at_ms=2**63), "issued_at_ms must be"),
    "true as time": (raw(issued_at_ms=True), "issued_at_ms must be"),
    "a negative revision": (raw(expected_revision=-1), "expected_revision must be"),
    "a revision with a fraction": (raw(expected_revision=1.0), "expected_revision must be"),
    "no changes": (raw(changes={}), "changes is empty"),
    "changes is null": (raw(changes=None), "changes must be a JSON object"),
    "a misspelt change": (raw(changes={"alhpa": 0.5}), "unknown fields, such as 'alhpa'"),
    "alpha above one": (raw(changes={"alpha": 1.01}), "changes.alpha must be a number from 0 to 1"),
    "alpha below zero": (raw(changes={"alpha": -0.01}), "changes.alpha"),
    "alpha true": (raw(changes={"alpha": True}), "changes.alpha"),
    "alpha null": (raw(changes={"alpha": None}), "changes.alpha"),
    "threshold in quotes": (raw(changes={"alert_threshold": "0.5"}), "changes.alert_threshold"),
    "a model outside its folder": (raw(changes={"model_version": "../x"}), "changes.model_version"),
    "no model": (raw(changes={"model_version": ""}), "changes.model_version"),
    "a model number": (raw(changes={"model_version": 7}), "changes.model_version"),
    "a long model name": (raw(changes={"model_version": "v" * 65}), "changes.model_version"),
    "rules as a list": (raw(changes={"rules": []}), "changes.rules must be a JSON object"),
    "no rules": (raw(changes={"rules": {}}), "changes.rules is empty"),
    "an unknown rule": (raw(changes={"rules": {"vibes": {"weight": 1}}}), "known fields: blacklist"),
    "nothing of a rule": (raw(changes={"rules": {"velocity": {}}}), "changes.rules.velocity is empty"),
    "a rule of its own kind": (raw(changes={"rules": {"velocity": {"code": "X"}}}), "unknown fields, such as 'code'"),
    "enabled 1": (raw(changes={"rules": {"velocity": {"enabled": 1}}}), "velocity.enabled must be true or false"),
    "weight above one": (raw(changes={"rules": {"velocity": {"weight": 2}}}), "velocity.weight must be"),
    "a threshold in words": (raw(changes={"rules": {"velocity": {"threshold": "5"}}}), "velocity.threshold must be"),
    "a threshold that is no number": (
        raw(changes={"rules": {"velocity": {"threshold": "@"}}}).replace(b'"@"', b"NaN"),
        "not JSON",
    ),
    "no blacklist": (raw(changes={"blacklist": {}}), "changes.blacklist is empty"),
    "an unknown blacklist": (raw(changes={"blacklist": {"planet": {"add": ["X"]}}}), "unknown fields"),
    "no entries": (raw(changes={"blacklist": {"merchant": {}}}), "changes.blacklist.merchant is empty"),
    "an unknown action": (raw(changes={"blacklist": {"merchant": {"set": ["x"]}}}), "unknown fields, such as 'set'"),
    "one entry as text": (raw(changes={"blacklist": {"merchant": {"add": "x"}}}), "takes lists"),
    "an empty entry": (raw(changes={"blacklist": {"merchant": {"add": [""]}}}), "takes lists"),
    "a long entry": (raw(changes={"blacklist": {"merchant": {"add": ["x" * 257]}}}), "takes lists"),
    "a null character": (raw(changes={"blacklist": {"customer": {"remove": ["a\0"]}}}), "takes lists"),
    "a number as entry": (raw(changes={"blacklist": {"country": {"add": [1]}}}), "takes lists"),
}


@pytest.mark.parametrize(("payload", "detail"), INVALID.values(), ids=INVALID.keys())
def test_what_is_not_valid_says_what_is_wrong(payload: bytes | None, detail: str) -> None:
    answer = parse_control(payload)
    assert isinstance(answer, ControlRefusal)
    assert answer.reason is DeadLetterReason.CONTROL_INVALID
    assert detail in answer.detail


@pytest.mark.parametrize(
    ("payload", "control_id"),
    [
        (raw(), "ctl-1"),
        (raw(changes={}), "ctl-1"),
        (b'{"control_id":"x"}', "x"),
        (raw(control_id="a\nb"), None),
        (b"{}", None),
        (b'["control_id"]', None),
        (b"{", None),
        (b"", None),
        (None, None),
    ],
)
def test_the_id_that_a_refused_message_claims(payload: bytes | None, control_id: str | None) -> None:
    assert control_id_of(payload) == control_id


def test_details_are_short_and_printable_whatever_the_names() -> None:
    answer = parse_control(raw(**{f"\0{'x' * 5_000}{index}": 1 for index in range(40)}))
    assert isinstance(answer, ControlRefusal)
    assert len(answer.detail) < 1_000
    assert answer.detail.isprintable()


def test_the_contract_examples_and_counter_examples() -> None:
    contract = load_contracts()["control"]
    assert contract.examples
    assert contract.counter_examples
    for example in contract.examples:
        assert isinstance(parse_control(json.dumps(dict(example.document)).encode()), ControlMessage), example.name
    for counter in contract.counter_examples:
        assert isinstance(parse_control(counter.payload), ControlRefusal), counter.name


def test_everything_at_once() -> None:
    before = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"honest again", "still bad"})))
    after = applied(
        before,
        message(
            alpha=1,
            alert_threshold=0.0,
            model_version="if-2",
            rules={"velocity": {"enabled": False}, "high_amount": {"weight": 0.25, "threshold": 4}},
            blacklist={
                "merchant": {"add": ["shady"], "remove": ["honest again", "never there"]},
                "country": {"add": ["KP", "KP"]},
            },
        ),
    )
    assert (after.alpha, after.alert_threshold, after.model_version, after.revision) == (1, 0.0, "if-2", 1)
    assert after.rules["velocity"] == RuleSetting(enabled=False, weight=0.35, threshold=5.0)
    assert after.rules["high_amount"] == RuleSetting(enabled=True, weight=0.25, threshold=4)
    assert after.rules["blacklist"] == DEFAULT_RULE_SETTINGS["blacklist"]
    assert after.blacklist == Blacklist(merchant=frozenset({"still bad", "shady"}), country=frozenset({"KP"}))
    assert after.control_ids == ("ctl-1",)


def test_null_lets_the_blend_of_each_model_apply_again() -> None:
    before = applied(DetectionConfig(), message(alpha=0.1, alert_threshold=0.9))
    assert (before.alpha_is_set, before.threshold_is_set) == (True, True)
    parsed = parse_control(raw(schema_version=3, control_id="ctl-2", changes={"alpha": None, "alert_threshold": None}))
    assert isinstance(parsed, ControlMessage)
    after = applied(before, parsed)
    assert (after.alpha, after.alpha_is_set) == (DEFAULT_ALPHA, False)
    assert (after.alert_threshold, after.threshold_is_set) == (DEFAULT_ALERT_THRESHOLD, False)


def test_a_message_has_the_lowest_version_that_allows_its_changes() -> None:
    assert version_of({"alpha": 0.5, "shadow_model": None}) == 2
    assert version_of({"alpha": None}) == version_of({"alert_threshold": None, "alpha": 0.5}) == 3
    assert isinstance(parse_control(raw(schema_version=2, changes={"alpha": None})), ControlRefusal)


def test_what_is_not_named_stays() -> None:
    before = DetectionConfig(alpha=0.1, alert_threshold=0.9, model_version="if-1", revision=4)
    after = applied(before, message(alpha=0.2))
    assert after == DetectionConfig(
        alpha=0.2, alpha_is_set=True, alert_threshold=0.9, model_version="if-1", revision=5, control_ids=("ctl-1",)
    )


def test_the_old_configuration_is_not_touched() -> None:
    before = DetectionConfig()
    text = before.to_json()
    applied(before, message(rules={"velocity": {"weight": 0.0}}, blacklist={"customer": {"add": ["c-1"]}}))
    assert before.to_json() == text
    assert DEFAULT_RULE_SETTINGS["velocity"].weight == 0.35


def test_an_id_applied_before_changes_nothing() -> None:
    once = applied(DetectionConfig(), message(alpha=0.7))
    assert apply_control(once, message(alpha=0.7)) is once
    assert apply_control(once, message(expected=99, alpha=0.1)) is once, "a redelivery is no conflict"


@pytest.mark.parametrize("expected", [0, 2, 99])
def test_a_revision_that_is_not_in_force_is_a_conflict(expected: int) -> None:
    config = DetectionConfig(revision=1)
    answer = apply_control(config, message(expected=expected, alpha=0.7))
    assert isinstance(answer, ControlRefusal)
    assert answer.reason is DeadLetterReason.CONTROL_REVISION_CONFLICT
    assert f"expected revision {expected}, but revision 1 is in force" in answer.detail
    assert applied(config, message(expected=1, alpha=0.7)).revision == 2


def test_a_blacklist_is_bounded_and_the_whole_message_falls_with_it() -> None:
    names = [f"m{index}" for index in range(MAX_BLACKLIST_ENTRIES)]
    full = applied(DetectionConfig(), message(blacklist={"merchant": {"add": names}}))
    assert len(full.blacklist.merchant) == MAX_BLACKLIST_ENTRIES
    over = message("ctl-2", alpha=0.9, blacklist={"country": {"add": ["KP"]}, "merchant": {"add": ["one more"]}})
    answer = apply_control(full, over)
    assert isinstance(answer, ControlRefusal)
    assert answer.reason is DeadLetterReason.CONTROL_INVALID
    assert "10001 entries" in answer.detail
    swapped = message("ctl-3", blacklist={"merchant": {"add": ["one more"], "remove": ["m0"]}})
    assert "one more" in applied(full, swapped).blacklist.merchant


def test_models_are_named_and_let_go() -> None:
    shadow = {"version": "gb-2", "digest": DIGEST}
    config = applied(
        DetectionConfig(), message(model_version="gb-1", model_digest=DIGEST, shadow_model=shadow, experiment=TRIAL)
    )
    assert (config.model_version, config.model_digest) == ("gb-1", DIGEST)
    assert config.shadow_model == ModelRef("gb-2", DIGEST)
    assert config.experiment == Experiment("spring", "gb-1", DIGEST, 0.1, GuardBand(100, 2, 0.5, 0.01))
    after = applied(config, message("ctl-2", model_version="gb-3", shadow_model=None, experiment=None))
    assert (after.model_digest, after.shadow_model, after.experiment) == (None, None, None)


def refused(config: DetectionConfig, control: ControlMessage) -> ControlRefusal:
    answer = apply_control(config, control)
    assert isinstance(answer, ControlRefusal)
    return answer


def test_the_guard_ends_its_own_experiment_and_no_other() -> None:
    on = applied(DetectionConfig(), message(experiment=TRIAL))
    assert on.experiment is not None
    end = parse_control(end_of_experiment(on.experiment, "x" * 500, 7).encode())
    assert isinstance(end, ControlMessage)
    over = applied(on, end)
    assert (over.experiment, over.revision) == (None, 2)
    assert apply_control(over, end) is over, "the same from another subtask changes nothing"

    other = applied(DetectionConfig(), message(experiment={**TRIAL, "id": "summer"}))
    assert "experiment spring is not running; running: summer" in refused(other, end).detail
    assert "experiment spring is not running; running: none" in refused(DetectionConfig(), end).detail
    assert "the guard has stopped experiment spring" in refused(over, message("ctl-9", experiment=TRIAL)).detail
    assert applied(over, message("ctl-9", experiment={**TRIAL, "id": "autumn"})).experiment is not None
    assert "experiment spring is running; stop it first" in refused(on, message("ctl-9", experiment=TRIAL)).detail


@given(configs, st.lists(st.sampled_from(["alpha", "threshold", "rule", "list", "model"]), min_size=1, max_size=6))
def test_two_instances_agree_after_any_messages(config: DetectionConfig, kinds: list[str]) -> None:
    changes: dict[str, dict[str, object]] = {
        "alpha": {"alpha": 0.3},
        "threshold": {"alert_threshold": 0.2},
        "rule": {"rules": {"blacklist": {"enabled": False}}},
        "list": {"blacklist": {"customer": {"add": ["b", "a"]}}},
        "model": {"model_version": "if-9"},
    }
    one, other = config, DetectionConfig.from_json(config.to_json())
    for index, kind in enumerate(kinds):
        control = message(f"generated {index}", None, **changes[kind])
        one, other = applied(one, control), DetectionConfig.from_json(applied(other, control).to_json())
    assert one == other
    assert one.to_json() == other.to_json()
    assert one.revision == config.revision + len(kinds)


@given(st.binary(max_size=200))
def test_no_bytes_raise(payload: bytes) -> None:
    assert isinstance(parse_control(payload), ControlRefusal)


@given(st.sampled_from([*VALID, "extra"]), json_values)
def test_any_value_in_any_place_is_a_message_or_a_refusal(field: str, value: object) -> None:
    assert isinstance(parse_control(json.dumps({**VALID, field: value}).encode()), ControlMessage | ControlRefusal)


@given(
    st.sampled_from(["alpha", "alert_threshold", "rules", "blacklist", "model_version", "shadow_model", "experiment"]),
    json_values,
)
def test_any_value_as_a_change_is_applied_or_refused(field: str, value: object) -> None:
    parsed = parse_control(raw(changes={field: value}))
    if isinstance(parsed, ControlMessage):
        config = applied(DetectionConfig(), parsed)
        assert DetectionConfig.from_json(config.to_json()) == config
