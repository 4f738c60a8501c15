"""The API in front of a real job: the decisions of the job, and the fallback while the job is dead."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from api.keys import Scope, create_key
from api.settings import ApiSettings
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.integration.api_server import serving
from tests.unit.job.samples import write_model

pytestmark = [pytest.mark.stack, pytest.mark.slow]
PREFIX = "api-test"
PATIENCE_S = 240.0
OWN = ApiSettings(acknowledge_ms=30_000)


@pytest.fixture(scope="module")
def environment(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    models = tmp_path_factory.mktemp("models")
    write_model(models, "v1")
    return {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        "STREAMFLOW_MODEL_DIR": str(models),
        "STREAMFLOW_MODEL_VERSION": "v1",
        "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, PREFIX),
    }


@pytest.fixture(scope="module")
def settings(stack: Stack, environment: dict[str, str]) -> Settings:
    return stack.settings().model_copy(update={"topic_prefix": environment["STREAMFLOW_TOPIC_PREFIX"]})


@pytest.fixture(scope="module")
def headers(settings: Settings) -> dict[str, str]:
    key = create_key(settings.postgres_dsn, "test", list(Scope), created_by="pytest", rate_per_s=10_000)
    return {"Authorization": f"Bearer {key}"}


def transaction(number: int) -> dict[str, Any]:
    return {
        "transaction_id": f"{PREFIX}-{number}",
        "customer_id": f"{PREFIX}-c",
        "amount_minor": 1_000 + number,
        "currency": "USD",
        "event_time_ms": time.time_ns() // 1_000_000,
    }


def stored(http: httpx.Client, sent: dict[str, Any]) -> dict[str, Any] | None:
    """Return the status of a transaction once its decision is in Postgres."""
    found: dict[str, Any] = http.get(f"/v1/decisions/{sent['transaction_id']}").json()
    return found if found.get("status") == "decided" else None


def test_the_job_decides_and_while_it_is_dead_the_fallback_answers_and_the_decision_follows(
    stack: Stack, environment: dict[str, str], settings: Settings, headers: dict[str, str]
) -> None:
    number = iter(range(1_000))

    with jobs.running_job(stack, "archive", environment):
        with (
            jobs.running_job(stack, "detect", environment) as detect,
            serving(settings, OWN) as url,
            httpx.Client(base_url=url, headers=headers, timeout=60) as http,
        ):
            wait_for(lambda: http.get("/health/ready").json()["replies"], limit_s=60, what="the replies")

            def decided() -> tuple[dict[str, Any], dict[str, Any]] | None:
                sent = transaction(next(number))
                answer = http.post("/v1/transactions?deadline_ms=5000", json=sent)
                assert answer.status_code == 200, answer.text
                return (sent, answer.json()) if answer.json()["decided_by"] == "job" else None

            first, answer = wait_for(decided, limit_s=PATIENCE_S, what="an answer of the job")
            assert (answer["model_version"], answer["is_kept"]) == ("v1", True)
            again = http.post("/v1/transactions?deadline_ms=5000", json=first)
            assert (again.json(), again.headers["idempotent-replayed"]) == (answer, "true")

            # Stored means checkpointed: the job that starts later does not decide it again.
            known = wait_for(lambda: stored(http, first), limit_s=PATIENCE_S, what="the first decision")
            assert known["decision"]["score"] == answer["score"]

            stack.rest().cancel(detect)
            wait_for(lambda: stack.rest().state(detect) == "CANCELED", limit_s=60, what="the end of the job")
            missed = transaction(next(number))
            fallback = http.post("/v1/transactions?deadline_ms=50", json=missed).json()
            assert (fallback["decided_by"], fallback["action"], fallback["score"]) == ("fallback", "review", None)
            pending = http.get(f"/v1/decisions/{missed['transaction_id']}").json()
            assert (pending["status"], pending["first_answer"]) == ("pending", fallback)

        with (
            jobs.running_job(stack, "detect", environment),
            serving(settings, OWN) as url,
            httpx.Client(base_url=url, headers=headers, timeout=60) as http,
        ):
            later = wait_for(lambda: stored(http, missed), limit_s=PATIENCE_S, what="the decision")
            assert later["first_answer"] == fallback
            assert later["decision"]["amount_minor"] == missed["amount_minor"]
            # A new process gives the answers of the one before it.
            assert http.post("/v1/transactions", json=missed).json() == fallback
            assert http.post("/v1/transactions", json=first).json() == answer
