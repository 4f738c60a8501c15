"""``POST /v1/score`` with own features: the score of the replay, and what the answer says without the module."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from api.application import create_app
from api.in_force import Watch
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.own_feature_settings import own_features
from flink_jobs.settings import Settings
from tests.own_features import EXAMPLE, FOLDER
from tests.own_features.example_model import Trained, train_example
from tests.unit.api.service import Memory, client, services

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_example(tmp_path_factory.mktemp("models"))


def ask(trained: Trained, bodies: Sequence[dict[str, Any]], own: OwnValues | None) -> list[dict[str, Any]]:
    settings = Settings.model_construct(model_dir=trained.folder, artifact_store=None, model_version=trained.version)
    memory = Memory()
    watch = Watch(memory, settings, 60, own=own)

    async def run() -> list[dict[str, Any]]:
        await watch.refresh()
        async with client(create_app(replace(services(memory), watch=watch))) as http:
            return [(await http.post("/v1/score", json=body)).json() for body in bodies]

    return asyncio.run(run())


def example() -> OwnValues:
    loaded = own_features(EXAMPLE, FOLDER)
    assert loaded is not None
    return OwnValues(loaded)


def requests(trained: Trained) -> list[dict[str, Any]]:
    """Return a request for the newest transaction of each customer, with all earlier ones as history."""
    of_customer: dict[str, dict[str, dict[str, Any]]] = {}
    for event in trained.events:
        known = of_customer.setdefault(event.transaction["customer_id"], {})
        known.setdefault(event.transaction["transaction_id"], event.transaction)
    ordered = [list(known.values()) for known in of_customer.values()]
    return [{"transaction": sent[-1], "history": sent[:-1]} for sent in ordered]


def test_scores_with_a_given_history_equal_the_replay(trained: Trained) -> None:
    expected, bodies = trained.scores(), requests(trained)
    answers = ask(trained, bodies, example())
    found = {answer["decision"]["transaction_id"]: answer["decision"]["ml_score"] for answer in answers}
    assert found == {name: expected[name] for name in found}
    assert len(found) == 10
    assert {answer["model_problem"] for answer in answers} == {None}
    assert all(answer["decision"]["features"]["own_quiet_days"] is not None for answer in answers)


def test_without_a_history_own_features_see_a_new_customer(trained: Trained) -> None:
    (answer,) = ask(trained, [{"transaction": trained.events[-1].transaction}], example())
    assert (answer["history_source"], answer["decision"]["model"]) == ("none", "ok")
    assert answer["decision"]["absent"]["own_quiet_days"] == "no_value"


def test_an_api_without_the_module_scores_by_rules_and_says_why(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    (answer,) = ask(trained, requests(trained)[:1], None)
    assert (answer["decision"]["ml_score"], answer["model_problem"]) == (None, "feature_mismatch")
    (line,) = [record.getMessage() for record in caplog.records if "champion cannot be loaded" in record.getMessage()]
    assert f"add {EXAMPLE} to STREAMFLOW_FEATURES" in line
