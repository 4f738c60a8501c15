"""The configuration: round trip, releases that come and go, versions."""

import json

import pytest
from hypothesis import given

from flink_jobs.core.control.config import REMEMBERED_CONTROL_IDS, DetectionConfig
from flink_jobs.core.control.experiment import Experiment, GuardBand, ModelRef
from flink_jobs.core.rules import DEFAULT_RULE_SETTINGS, RULESET_VERSION
from tests.strategies import configs


@given(configs)
def test_a_configuration_survives_its_json(config: DetectionConfig) -> None:
    text = config.to_json()
    assert DetectionConfig.from_json(text) == config
    assert DetectionConfig.from_json(text).to_json() == text


def test_the_stored_json_is_readable_by_every_later_release() -> None:
    """What version 1 wrote; it is in savepoints, so it must be read for ever."""
    text = (
        '{"schema_version":1,"alpha":0.7,"alert_threshold":0.6,"rules":{"velocity":{"enabled":false,"weight":0.1,'
        '"threshold":7.0}},"blacklist":{"customer":["c-1"],"merchant":[],"country":["KP"]},'
        '"model_version":"if-1","revision":3,"control_ids":["a","b"]}'
    )
    config = DetectionConfig.from_json(text)
    assert (config.alpha, config.alert_threshold, config.revision) == (0.7, 0.6, 3)
    assert (config.rules["velocity"].enabled, config.rules["velocity"].threshold) == (False, 7.0)
    assert config.rules["high_amount"] == DEFAULT_RULE_SETTINGS["high_amount"]
    assert config.blacklist.customer == {"c-1"}
    assert config.control_ids == ("a", "b")

    assert (config.model_digest, config.shadow_model, config.experiment) == (None, None, None)
    assert (config.alpha_is_set, config.threshold_is_set) == (True, True)


def test_what_version_2_wrote_is_read_for_ever() -> None:
    text = (
        '{"schema_version":2,"alpha":0.7,"alert_threshold":0.6,"rules":{},"blacklist":{"customer":[],"merchant":[],'
        '"country":[]},"model_version":"if-1","model_digest":"d1","shadow_model":{"version":"if-2","digest":"d2"},'
        '"experiment":{"id":"spring","version":"if-3","digest":"d3","share":0.1,"guard":{"min_decisions":100,'
        '"max_alert_rate_ratio":2.0,"min_alert_rate_ratio":0.5,"max_error_share":0.01}},"revision":3,'
        '"control_ids":["a"]}'
    )
    config = DetectionConfig.from_json(text)
    assert (config.model_digest, config.shadow_model) == ("d1", ModelRef("if-2", "d2"))
    assert config.experiment == Experiment("spring", "if-3", "d3", 0.1, GuardBand(100, 2.0, 0.5, 0.01))


def test_a_default_that_an_earlier_release_stored_counts_as_not_set() -> None:
    document = json.loads(DetectionConfig().to_json())
    del document["alpha_is_set"], document["threshold_is_set"]
    assert DetectionConfig.from_json(json.dumps(document)) == DetectionConfig()


def test_a_rule_that_is_no_more_is_forgotten() -> None:
    document = json.loads(DetectionConfig().to_json())
    document["rules"]["retired"] = {"enabled": True, "weight": 1.0, "threshold": 0.0}
    assert DetectionConfig.from_json(json.dumps(document)) == DetectionConfig()


def test_a_newer_schema_is_refused_with_what_to_do() -> None:
    document = json.loads(DetectionConfig().to_json()) | {"schema_version": 3}
    with pytest.raises(ValueError, match=r"schema 3 .* newer than 2.* run the release that wrote it"):
        DetectionConfig.from_json(json.dumps(document))


def test_the_ruleset_version_tells_a_changed_table() -> None:
    config = DetectionConfig()
    assert config.ruleset_version == RULESET_VERSION
    assert config.next_revision("a").ruleset_version == f"{RULESET_VERSION}+r1"


def test_control_ids_are_bounded() -> None:
    config = DetectionConfig()
    for index in range(REMEMBERED_CONTROL_IDS + 10):
        config = config.next_revision(f"id-{index}")
    assert len(config.control_ids) == REMEMBERED_CONTROL_IDS
    assert config.control_ids[-1] == f"id-{REMEMBERED_CONTROL_IDS + 9}"
    assert config.revision == REMEMBERED_CONTROL_IDS + 10
