"""Upgrades on the real stack: the state that a job keeps after a change, and the changes that are refused.

Every test here is a row of the upgrade matrix (``upgrade_matrix.py``); the rows about one stream run in order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.state.codec import STATE_VERSION
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.snapshot import open_snapshot
from flink_jobs.kafka.producer import connect
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests import golden
from tests.integration import jobs
from tests.integration.golden_savepoint import THRESHOLD, archived, prefix_of, send_archived
from tests.unit.job.samples import write_model

pytestmark = [pytest.mark.stack, pytest.mark.slow]

EXTENDED_JOB = Path(__file__).parent / "extended_detect.py"
PREFIX = "upgrades"
EVENTS_A_STEP = 150
HOUR_MS = 3_600_000
# The golden savepoints become older in the repository, and their customers must not expire.
NEVER_EXPIRES = {"STREAMFLOW_STATE_TTL_DAYS": "36500", "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500"}

Transaction = dict[str, Any]
Encoding = Callable[[Transaction], tuple[bytes, bytes]]


def plain(transaction: Transaction) -> tuple[bytes, bytes]:
    """Return key and value as StreamFlow's producer writes them."""
    return transaction["customer_id"].encode(), orjson.dumps(transaction)


def foreign(transaction: Transaction) -> tuple[bytes, bytes]:
    """Return key and value in another producer's format: JSON key; indented, sorted document with more fields."""
    document = {**transaction, "issuer": {"bank": "B\u00fcrgerbank", "tags": [1, 2]}}
    return json.dumps(transaction["customer_id"]).encode(), json.dumps(document, indent=2, sort_keys=True).encode()


def send(stack: Stack, prefix: str, transactions: list[Transaction], encode: Encoding = plain) -> None:
    """Send transactions in order."""
    producer = connect(stack.settings().broker())
    try:
        for transaction in transactions:
            key, value = encode(transaction)
            producer.send(topic_name(prefix, "transactions"), key=key, value=value)
        producer.flush(timeout=240)
    finally:
        producer.close()


def decisions_of(stack: Stack, prefix: str, transactions: list[Transaction]) -> dict[str, Transaction]:
    """Wait for all decisions and return them by transaction id; a second decision for a transaction is an error."""
    wanted = {transaction["transaction_id"] for transaction in transactions}

    def complete() -> list[Transaction] | None:
        found = [item for item in jobs.committed(stack, "decisions", prefix) if item["transaction_id"] in wanted]
        return found if len(found) >= len(wanted) else None

    found = wait_for(complete, limit_s=jobs.PATIENCE_S, what=f"{len(wanted)} decisions", interval_s=1.0)
    assert len(found) == len(wanted), "each transaction has one decision"
    return {item["transaction_id"]: item for item in found}


def same_features(found: dict[str, Transaction], expected: dict[str, Transaction]) -> None:
    """Compare every feature, including absent ones, with those of an unbroken history."""
    assert found
    for name, decision in found.items():
        for part in ("features", "absent"):
            assert decision[part] == expected[name][part], name


@pytest.mark.parametrize("archive", golden.GOLDEN, ids=lambda path: path.name.partition(".")[0])
def test_a_savepoint_of_every_released_state_version_is_restored(stack: Stack, archive: Path, tmp_path: Path) -> None:
    """The restored job has every customer of the golden savepoint, and its configuration."""
    prefix = jobs.own_topics(stack, prefix_of(golden.version_of(archive)))
    tmp_path.chmod(0o755)
    savepoint = golden.unpack(archive, tmp_path)
    with open_snapshot(str(savepoint)) as snapshot:
        states = {customer.customer_id: customer.blob for customer in snapshot.customers()}
        seen_ms = {customer.customer_id: customer.state().last_event_time_ms for customer in snapshot.customers()}
    assert states
    following = [
        {"transaction_id": f"after-{customer}", "customer_id": customer, "amount_minor": 4_711, "currency": "USD",
         "event_time_ms": (last_ms or 0) + HOUR_MS, "location": {"lat": 48.0, "lon": 2.0}, "category": "travel"}
        for customer, last_ms in seen_ms.items()
    ]  # fmt: skip
    environment = {**NEVER_EXPIRES, "STREAMFLOW_TOPIC_PREFIX": prefix, "STREAMFLOW_MODEL_DIR": str(tmp_path)}
    job_id = jobs.start_job(stack, "detect", environment, savepoint=savepoint.as_uri())
    try:
        send(stack, prefix, following)
        found = decisions_of(stack, prefix, following)
        after = stack.rest().stop_with_savepoint(job_id, stack.settings().savepoint_dir)
    finally:
        if job_id in {job.job_id for job in stack.rest().active_jobs()}:
            stack.rest().cancel(job_id)

    same_features(found, golden.decided(following, states))
    assert {item["config_revision"] for item in found.values()} == {1}
    assert {item["threshold"] for item in found.values()} == {THRESHOLD}
    with open_snapshot(after) as snapshot:
        stored = {customer.customer_id: customer for customer in snapshot.customers()}
    assert {customer.version for customer in stored.values()} == {STATE_VERSION}
    assert {name: customer.blob for name, customer in stored.items()} == states


def test_a_savepoint_of_the_archive_of_a_release_is_restored(stack: Stack, tmp_path: Path) -> None:
    """The restored job reads each partition of each topic from the saved offset on."""
    jobs.own_topics(stack, golden.ARCHIVE_PREFIX)
    tmp_path.chmod(0o755)
    savepoint = golden.unpack(golden.ARCHIVE, tmp_path)
    counts = golden.counts_of(golden.ARCHIVE)
    send_archived(stack, counts, "golden-before")
    send_archived(stack, {topic: dict.fromkeys(of_topic, 1) for topic, of_topic in counts.items()}, "golden-after")
    environment = {**NEVER_EXPIRES, "STREAMFLOW_TOPIC_PREFIX": golden.ARCHIVE_PREFIX}
    job_id = jobs.start_job(stack, "archive", environment, savepoint=savepoint.as_uri())
    try:
        following = {topic: len(of_topic) for topic, of_topic in counts.items()}
        wait_for(
            lambda: archived(stack, "golden-after") == following, limit_s=jobs.PATIENCE_S, what="the following rows"
        )
    finally:
        stack.rest().cancel(job_id)
    # In each partition, these records are before the record that has arrived.
    assert archived(stack, "golden-before") == dict.fromkeys(counts, 0), (
        "offsets before the savepoint are not read again"
    )


@dataclass
class Stream:
    """One stream of transactions through a chain of jobs; each starts from the savepoint of the previous one."""

    stack: Stack
    models: Path
    left: list[Transaction]
    states: dict[str, bytes] = field(default_factory=dict)
    savepoint: str | None = None

    def environment(self, model: str, mode: str = "thread", crossing: str = "single") -> dict[str, str]:
        """Return the settings of the next job."""
        return {
            "STREAMFLOW_CROSSING": crossing,
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
            "STREAMFLOW_EXECUTION_MODE": mode,
            "STREAMFLOW_MODEL_DIR": str(self.models),
            "STREAMFLOW_MODEL_VERSION": model,
            "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        }

    def step(
        self,
        model: str,
        *,
        crossing: str = "batched",
        parallelism: int = 1,
        script: Path | None = None,
        encode: Encoding = plain,
    ) -> list[Transaction]:
        """Run a job over the next transactions, compare its features, and stop it; return its decisions."""
        transactions, self.left = self.left[:EVENTS_A_STEP], self.left[EVENTS_A_STEP:]
        # Half of them are sent while no job runs; the next job reads them from the saved offsets.
        half = len(transactions) // 2
        send(self.stack, PREFIX, transactions[:half], encode)
        environment, rest = self.environment(model, crossing=crossing), self.stack.rest()
        job_id = jobs.start_job(
            self.stack, "detect", environment, script=script, savepoint=self.savepoint, parallelism=parallelism
        )
        try:
            send(self.stack, PREFIX, transactions[half:], encode)
            found = decisions_of(self.stack, PREFIX, transactions)
            self.savepoint = rest.stop_with_savepoint(job_id, self.stack.settings().savepoint_dir)
        finally:
            if job_id in {job.job_id for job in rest.active_jobs()}:
                rest.cancel(job_id)
        same_features(found, golden.decided(transactions, self.states))
        assert {item["model_version"] for item in found.values()} == {model}
        return list(found.values())


@pytest.fixture(scope="module")
def stream(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    models = tmp_path_factory.mktemp("upgrade-models")
    for version in ("v1", "v2"):
        write_model(models, version)
    jobs.own_topics(stack, PREFIX)
    events = [event.transaction for event in jobs.card_events("upgraded", 4 * EVENTS_A_STEP)]
    return Stream(stack, models, events)


def test_the_first_job_has_a_history_to_lose(stream: Stream) -> None:
    stream.step("v1", crossing="single")
    assert stream.savepoint is not None


def test_parallelism_from_one_to_two_and_another_model(stream: Stream) -> None:
    """From the single to the batched crossing, too."""
    stream.step("v2", parallelism=2)
    with open_snapshot(stream.savepoint or "") as snapshot:
        detector = snapshot.operator("fraud-detector")
        assert detector is not None
        assert detector.parallelism == len(detector.keyed_states) == 2, "both subtasks had customers"
        assert {item.customer_id: item.blob for item in snapshot.customers()} == stream.states


def test_parallelism_from_two_to_one_an_operator_more_and_another_producer(stream: Stream) -> None:
    """From the batched to the single crossing, too."""
    found = stream.step("v2", crossing="single", script=EXTENDED_JOB, encode=foreign)
    assert all(item["extended"] for item in found), "the added operator marked them"


def test_an_operator_less_and_a_savepoint_in_another_place(stream: Stream, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    moved = tmp_path / "moved"
    shutil.move(str(stream.savepoint).removeprefix("file:"), moved)
    stream.savepoint = moved.as_uri()
    found = stream.step("v2")
    assert not any("extended" in item for item in found)
    with open_snapshot(stream.savepoint) as snapshot:
        assert {item.customer_id: item.blob for item in snapshot.customers()} == stream.states


def refused(stack: Stack, environment: dict[str, str], savepoint: str, name: str = "detect") -> str:
    """Start a job that is refused before it runs; return the reason."""
    before = len(stack.rest().jobs())
    with pytest.raises(UserError) as told:
        jobs.start_job(stack, name, environment, savepoint=savepoint)
    assert len(stack.rest().jobs()) == before, "nothing was submitted"
    return str(told.value)


def test_from_thread_to_process_mode_is_refused(stream: Stream) -> None:
    """PyFlink names the state differently in process mode: the job would start without any customer."""
    why = refused(stream.stack, stream.environment("v2", "process"), str(stream.savepoint))
    assert "was written in thread mode; in process mode" in why
    assert "STREAMFLOW_EXECUTION_MODE=thread" in why


def test_from_process_to_thread_mode_is_refused(stream: Stream, tmp_path: Path) -> None:
    savepoint = golden.unpack(golden.PROCESS_MODE, tmp_path)
    why = refused(stream.stack, stream.environment("v2"), savepoint.as_uri())
    assert "was written in process mode; in thread mode" in why


def test_the_savepoint_of_another_job_is_refused(stream: Stream) -> None:
    why = refused(stream.stack, stream.environment("v2"), str(stream.savepoint), "archive")
    assert "the detect job wrote" in why
    assert "not the archive job" in why
