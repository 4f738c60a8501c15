"""The API in front of a real job: the job's decisions, a second replica, a new process, and a job that is away."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from api.keys import Scope, create_key
from api.settings import ApiSettings
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.action_client import send_action
from flink_jobs.waiting import wait_for
from tests.account_samples import action
from tests.integration import jobs
from tests.integration.api_server import client, serving
from tests.otlp_receiver import Receiver, receiving
from tests.unit.job.samples import write_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flink_jobs.local.stack import Stack
    from flink_jobs.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.slow]
PREFIX = "api-test"
PATIENCE_S = 240.0
OWN = ApiSettings(acknowledge_ms=30_000, request_timeout_s=60, case_work=False)
SLOWLY = "/v1/transactions?deadline_ms=5000"


PARENTS = {
    ("streamflow-api", "server"): None,
    ("streamflow-api", "producer"): ("streamflow-api", "server"),
    ("streamflow-api", "consumer"): ("streamflow-api", "server"),
    ("streamflow-detect", "consumer"): ("streamflow-api", "producer"),
    ("streamflow-archive", "consumer"): ("streamflow-detect", "consumer"),
}
"""The span that each span of a transaction belongs to, by service and kind."""


def transaction(number: int, **changes: object) -> dict[str, Any]:
    return {
        "transaction_id": f"{PREFIX}-{number}",
        "customer_id": f"{PREFIX}-c",
        "amount_minor": 1_000 + number,
        "currency": "USD",
        "event_time_ms": time.time_ns() // 1_000_000,
        **changes,
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver of spans."""
    with receiving() as receiver:
        yield receiver


@contextmanager
def replica(settings: Settings, key: str) -> Iterator[httpx.Client]:
    """Yield a client of a new process of the API that reads the job's replies."""
    headers = {"Authorization": f"Bearer {key}"}
    with serving(settings, OWN) as url, client(url, headers) as http:
        wait_for(lambda: http.get("/health/ready").json()["replies"], limit_s=PATIENCE_S, what="the reader of replies")
        yield http


def stored(http: httpx.Client, sent: dict[str, Any]) -> dict[str, Any] | None:
    """Return the status of a transaction once its decision is in Postgres."""
    found: dict[str, Any] = http.get(f"/v1/decisions/{sent['transaction_id']}").json()
    return found if found.get("status") == "decided" else None


def first_of_job(http: httpx.Client) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first transaction that the job decides within the deadline, and the answer."""
    numbers = iter(range(1_000))

    def decided() -> tuple[dict[str, Any], dict[str, Any]] | None:
        sent = transaction(next(numbers))
        answer = http.post(SLOWLY, json=sent, headers={"traceparent": f"00-{trace_of(sent)}-{'1' * 16}-01"})
        assert answer.status_code == 200, answer.text
        return (sent, answer.json()) if answer.json()["decided_by"] == "job" else None

    return wait_for(decided, limit_s=PATIENCE_S, what="an answer of the job")


def check_alert(stack: Stack, prefix: str, http: httpx.Client, other: httpx.Client) -> None:
    """Send purchases until one is an alert; check that each place has the contributions of the alert itself."""
    numbers = iter(range(4_000, 5_000))

    def alerted() -> tuple[dict[str, Any], dict[str, Any]] | None:
        sent = transaction(next(numbers))
        answer = http.post(SLOWLY, json=sent).json()
        assert answer["is_alert"] or answer["contributions"] is None
        return (sent, answer) if answer["is_alert"] else None

    sent, answer = wait_for(alerted, limit_s=PATIENCE_S, what="an alert")

    def own() -> dict[str, Any] | None:
        found = jobs.committed(stack, "alerts", prefix)
        return next((item for item in found if item["transaction_id"] == sent["transaction_id"]), None)

    alert = wait_for(own, limit_s=PATIENCE_S, what="the alert")
    assert answer["contributions"] == alert["contributions"]
    assert {item["code"]: item["contribution"] for item in answer["reasons"]} == {
        item["code"]: item["contribution"] for item in alert["reasons"]
    }
    # The other replica reads the first answer from Postgres.
    assert other.post(SLOWLY, json=sent).text == http.post(SLOWLY, json=sent).text
    known = wait_for(lambda: stored(other, sent), limit_s=PATIENCE_S, what="the decision of the alert")
    assert known["first_answer"]["contributions"] == alert["contributions"]
    same = ("contributions", "reasons", "score", "action", "fraud_probability")
    assert {name: known["decision"][name] for name in same} == {name: answer[name] for name in same}


def trace_of(sent: dict[str, Any]) -> str:
    """Return the id of the trace of a transaction."""
    return blake2b(sent["transaction_id"].encode(), digest_size=16).hexdigest()


def check_trace(stack: Stack, receiver: Receiver, sent: dict[str, Any]) -> None:
    """Wait until API, detector and archive have sent the spans of a transaction, and check how they belong together."""
    trace_id = trace_of(sent)
    wait_for(lambda: len(receiver.of(trace_id)) >= len(PARENTS), limit_s=PATIENCE_S, what="the spans of the trace")
    spans = receiver.of(trace_id)
    names = {span.span_id: (span.service, span.kind) for span in spans}
    assert {(span.service, span.kind): names.get(span.parent_id) for span in spans} == PARENTS
    # After a failure of the job there would be two.
    detectors = {f"00-{trace_id}-{span.span_id}-01": span for span in spans if span.service == "streamflow-detect"}
    query = "SELECT traceparent FROM raw.decisions WHERE transaction_id = %s"
    (kept,) = jobs.rows(stack, query, sent["transaction_id"])
    (link,) = detectors[kept["traceparent"]].links
    wait_for(lambda: receiver.of(link[0]), limit_s=PATIENCE_S, what="the span of the batch")


def block(stack: Stack, prefix: str, customer: str) -> None:
    """Block a customer, and wait until the archive has the action."""
    now_ms = time.time_ns() // 1_000_000
    blocked = action("block", customer, issued_at_ms=now_ms - 1_000, expires_at_ms=now_ms + 86_400_000)
    send_action(stack.settings().broker(), prefix, blocked)
    query = "SELECT action FROM raw.standing_actions WHERE action_id = %s"
    wait_for(lambda: jobs.rows(stack, query, blocked.id), limit_s=PATIENCE_S, what="the archived action")


def reason_of_job(stack: Stack, prefix: str, payload: bytes) -> str:
    """Return the reason of the dead letter that the job writes for a record."""
    jobs.send_raw(stack, topic_name(prefix, "transactions"), [payload])
    letters = wait_for(lambda: jobs.committed(stack, "dlq", prefix), limit_s=PATIENCE_S, what="the dead letter")
    assert len(letters) == 1, letters
    return str(letters[0]["reason"])


def test_the_job_decides_and_while_it_is_away_the_fallback_answers_and_the_decision_follows(
    stack: Stack, tmp_path: Path, receiver: Receiver
) -> None:
    write_model(tmp_path, "v1")
    prefix = jobs.own_topics(stack, PREFIX)
    environment = {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        "STREAMFLOW_MODEL_DIR": str(tmp_path),
        "STREAMFLOW_MODEL_VERSION": "v1",
        "STREAMFLOW_TOPIC_PREFIX": prefix,
        "STREAMFLOW_TRACES_ENDPOINT": receiver.url,
    }
    traces = {"traces_endpoint": receiver.url, "traces_sample": 0.0}
    settings = stack.settings().model_copy(update={"topic_prefix": prefix, **traces})
    key = create_key(settings.postgres_dsn, "test", list(Scope), created_by="pytest", rate_per_s=10_000)

    with jobs.running_job(stack, "archive", environment):
        with jobs.running_job(stack, "detect", environment) as detect, ExitStack() as replicas:
            http = replicas.enter_context(replica(settings, key))
            first, answer = first_of_job(http)
            assert (answer["model_version"], answer["is_kept"]) == ("v1", True)

            other = replicas.enter_context(replica(settings, key))
            for again in (http.post(SLOWLY, json=first), other.post(SLOWLY, json=first)):
                assert (again.json(), again.headers["idempotent-replayed"]) == (answer, "true")
            changed = {**first, "amount_minor": 7}
            assert other.post(SLOWLY, json=changed).json()["error"]["code"] == "transaction_id_reused"

            bad = orjson.dumps(transaction(2_000, amount_minor=-5))
            refused = http.post(SLOWLY, content=bad)
            assert refused.status_code == 422
            assert refused.json()["error"]["code"] == reason_of_job(stack, prefix, bad)

            check_alert(stack, prefix, http, other)

            # Stored means checkpointed: the job that starts later does not decide it again.
            known = wait_for(lambda: stored(other, first), limit_s=PATIENCE_S, what="the first decision")
            assert known["decision"]["score"] == answer["score"]
            check_trace(stack, receiver, first)

            stack.rest().cancel(detect)
            wait_for(lambda: stack.rest().state(detect) == "CANCELED", limit_s=PATIENCE_S, what="the end of the job")
            missed = transaction(3_000)
            block(stack, prefix, f"{PREFIX}-blocked")
            sent = transaction(3_001, customer_id=f"{PREFIX}-blocked")
            declined = http.post("/v1/transactions?deadline_ms=50", json=sent)
            assert (declined.json()["decided_by"], declined.json()["action"]) == ("fallback", "decline")
            fallback = http.post("/v1/transactions?deadline_ms=50", json=missed).json()
            assert (fallback["decided_by"], fallback["action"], fallback["score"]) == ("fallback", "review", None)
            pending = other.get(f"/v1/decisions/{missed['transaction_id']}").json()
            assert (pending["status"], pending["first_answer"]) == ("pending", fallback)

        with jobs.running_job(stack, "detect", environment), replica(settings, key) as http:
            # A new process gives the answers of the processes before it.
            assert http.post(SLOWLY, json=missed).json() == fallback
            assert http.post(SLOWLY, json=first).json() == answer
            later = wait_for(lambda: stored(http, missed), limit_s=PATIENCE_S, what="the decision")
            assert later["first_answer"] == fallback
            assert later["decision"]["amount_minor"] == missed["amount_minor"]
