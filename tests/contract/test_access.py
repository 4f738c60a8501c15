"""Rights on Kafka follow from the contracts."""

from __future__ import annotations

import pytest

from flink_jobs.contracts.access import Grant, account_of, grants
from flink_jobs.contracts.topic_contracts import load_contracts

GRANTS = grants(load_contracts("bank"), "bank")


def test_every_participant_of_a_contract_has_an_account() -> None:
    names = {name for contract in load_contracts().values() for name in (*contract.producers, *contract.consumers)}
    assert len(names) > 8
    assert all(account_of(name) for name in names)
    with pytest.raises(LookupError, match="has no account"):
        account_of("somebody new")


def test_only_the_detector_writes_decisions_and_each_job_has_transactions_of_its_own() -> None:
    assert {g.account for g in GRANTS if g.name == "bank.decisions" and g.operation == "write"} == {"streamflow-detect"}
    assert {(g.account, g.name) for g in GRANTS if g.resource == "transactional_id"} == {
        ("streamflow-detect", "bank-detect-"),
        ("streamflow-archive", "bank-archive-"),
        ("streamflow-canary", "bank-canary-detect-"),
        ("streamflow-merchants", "bank-merchants-"),
    }


def test_nobody_may_do_everything() -> None:
    assert not {grant.operation for grant in GRANTS} & {"all", "alter", "create", "delete"}
    topics = [g for g in GRANTS if g.is_prefix and g.resource == "topic" and g.name != "bank-canary."]
    assert {g.operation for g in topics} == {"describe"}


def test_rights_stay_within_the_installation() -> None:
    assert {g.name for g in GRANTS if not g.name.startswith("bank")} == {"kafka-cluster"}
    assert Grant("streamflow-archive", "group", "bank-archive", "read") in GRANTS
