"""A model that is missing, damaged or fails while scoring never stops the job: the rules score, the fault is reported.

One job with its own topics runs through the whole file; the tests build on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.artifacts.artifact_store import open_store
from flink_jobs.core.documents import AuditDocument, ControlChanges, ExperimentDocument, GuardDocument
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.artifact import MAX_MANIFEST_BYTES, read_bounded
from flink_jobs.core.models.manifest import MANIFEST_FILE, parse_manifest
from flink_jobs.kafka.control_client import build_message, encode_checked, send_and_wait
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.unit.job.samples import write_model

PREFIX = "model-faults"
EVENTS = 5


@dataclass
class FaultStack:
    """A running detector, its folder of models, and methods to control it."""

    stack: Stack
    job_id: str
    models: Path
    runs: Iterator[int] = field(default_factory=lambda: iter(range(100)))

    def use_model(self, version: str) -> AuditDocument:
        """Request a model with a control message; return its audit record."""
        return self.change({"model_version": version})

    def change(self, changes: ControlChanges) -> AuditDocument:
        """Send a control message; return its audit record."""
        message = build_message(changes, issued_by="tester", reason="test", expected_revision=None, now_ms=0)
        broker = self.stack.settings().broker()
        answer = send_and_wait(broker, PREFIX, encode_checked(message), message["control_id"], 400)
        assert answer is not None
        return answer

    def decisions(self, events: int = EVENTS) -> list[dict[str, Any]]:
        """Send a few events and return the decisions on them."""
        run = f"run{next(self.runs)}"
        balance = jobs.account(self.stack, jobs.send(self.stack, jobs.card_events(run, events), prefix=PREFIX), PREFIX)
        assert balance.is_as_expected, "\n".join(balance.lines())
        mine = [
            item
            for item in jobs.committed(self.stack, "decisions", PREFIX)
            if item["customer_id"].startswith(f"{run}-")
        ]
        assert len(mine) == events
        return mine

    def incidents(self) -> list[dict[str, Any]]:
        """Return all dead letters so far, in no order, because they are in several partitions."""
        return jobs.committed(self.stack, "dlq", PREFIX)

    def new_incidents(self, before: set[str]) -> list[dict[str, Any]]:
        """Wait for dead letters with other ids: another sink than that of the decisions commits them."""

        def found() -> list[dict[str, Any]]:
            return [item for item in self.incidents() if item["dlq_id"] not in before]

        return wait_for(found, limit_s=240, what="a new dead letter")

    def runs_without_a_restart(self) -> bool:
        rest = self.stack.rest()
        return rest.state(self.job_id) == "RUNNING" and rest.failures(self.job_id) == []


@pytest.fixture(scope="module")
def lab(stack: Stack, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStack]:
    models = tmp_path_factory.mktemp("no-models-yet")
    environment = {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
        "STREAMFLOW_MODEL_DIR": str(models),
        "STREAMFLOW_ARTIFACT_STORE": f"s3://{bucket}/{PREFIX}",
        "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, PREFIX),
    }
    # Two subtasks, so that what each of them says of an experiment has to become one.
    script, options = Path(__file__).parent / "faulty_detect.py", {"parallelism.default": "2"}
    with jobs.running_job(stack, "detect", environment, script=script, options=options) as job_id:
        yield FaultStack(stack, job_id, models)


def arrays_digest_of(directory: Path) -> str:
    return parse_manifest(read_bounded(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES)).arrays_sha256


def is_degraded(decisions: list[dict[str, Any]]) -> bool:
    """Return whether the rules alone scored all transactions and the decisions say so."""
    assert {item["model"] for item in decisions} <= {"ok", "degraded"}
    return all(
        item["model"] == "degraded" and item["model_version"] is None and item["ml_score"] is None
        and item["score"] == item["rule_score"]
        for item in decisions
    )  # fmt: skip


def test_without_any_model_the_rules_score(lab: FaultStack) -> None:
    assert is_degraded(lab.decisions())
    assert lab.incidents() == [], "told by log and metric: no message or event is to blame"
    assert lab.runs_without_a_restart()


def test_a_control_message_brings_a_later_model_into_use(lab: FaultStack) -> None:
    write_model(lab.models, "good")

    answer = lab.use_model("good")

    assert (answer["outcome"], answer["detail"]) == ("applied", "")
    decisions = lab.decisions()
    assert {(item["model"], item["model_version"]) for item in decisions} == {("ok", "good")}
    assert all(0 < item["ml_score"] <= 1 for item in decisions)
    assert lab.incidents() == []
    assert lab.runs_without_a_restart()


def test_a_model_published_elsewhere_is_fetched_from_the_bucket(lab: FaultStack, bucket: str, tmp_path: Path) -> None:
    with open_store(f"s3://{bucket}/{PREFIX}") as store:
        store.publish(write_model(tmp_path, "from-afar"))

    assert lab.use_model("from-afar")["detail"] == ""

    assert {item["model_version"] for item in lab.decisions()} == {"from-afar"}
    assert (lab.models / "from-afar" / MANIFEST_FILE).exists()
    assert lab.runs_without_a_restart()


def corrupt(models: Path) -> None:
    arrays = write_model(models, "corrupt") / "model.npz"
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 0xFF
    arrays.write_bytes(content)


def truncated(models: Path) -> None:
    arrays = write_model(models, "truncated") / "model.npz"
    arrays.write_bytes(arrays.read_bytes()[:200])


def other_features(models: Path) -> None:
    write_model(models, "other_features", (*FEATURE_NAMES[:-1], "known_to_another_release"))


def missing(models: Path) -> None:
    assert not (models / "missing").exists()


@pytest.mark.parametrize("damage", [corrupt, truncated, other_features, missing], ids=lambda damage: damage.__name__)
def test_a_model_that_cannot_be_served_is_an_incident_and_the_next_good_one_ends_it(
    lab: FaultStack, damage: Callable[[Path], None]
) -> None:
    damage(lab.models)
    before = {item["dlq_id"] for item in lab.incidents()}

    answer = lab.use_model(damage.__name__)

    assert answer["outcome"] == "applied"
    assert answer["detail"], "the audit tells what is wrong with the model"
    assert is_degraded(lab.decisions())
    (letter,) = lab.new_incidents(before)
    assert (letter["reason"], letter["stage"], letter["disposition"]) == ("MODEL_UNAVAILABLE", "model", "incident")
    assert letter["topic"] == f"{PREFIX}.control"
    assert letter["detail"] == answer["detail"][:500]
    assert lab.runs_without_a_restart()

    assert lab.use_model("good")["detail"] == ""
    assert {item["model_version"] for item in lab.decisions()} == {"good"}


def test_arrays_of_another_digest_are_not_used(lab: FaultStack) -> None:
    answer = lab.change({"model_version": "good", "model_digest": "0" * 64})

    assert "digest_mismatch" in answer["detail"]
    assert is_degraded(lab.decisions())
    digest = arrays_digest_of(lab.models / "good")
    assert lab.change({"model_version": "good", "model_digest": digest})["detail"] == ""
    assert {item["model_version"] for item in lab.decisions()} == {"good"}


@pytest.mark.parametrize("fault", ["raises", "nan", "slow"])
def test_a_champion_that_fails_at_work_is_cut_off_and_the_next_good_one_ends_it(lab: FaultStack, fault: str) -> None:
    before = {item["dlq_id"] for item in lab.incidents()}
    version = f"{fault}-1"

    assert lab.use_model(version)["detail"] == "", "it loads: nothing is known yet"
    decided = lab.decisions(60)

    late = [item for item in decided if item["model"] == "degraded"]
    assert late, "the model is disabled within a few events"
    assert is_degraded(late)
    letters = lab.new_incidents(before)
    assert {(item["reason"], item["stage"], item["disposition"]) for item in letters} == {
        ("MODEL_CUT_OFF", "model", "incident")
    }, "no event became a dead letter because of it"
    assert 1 <= len(letters) <= 2, "one from each subtask that met it"
    assert all(version in item["detail"] for item in letters)

    lab.change({"alpha": 0.4})
    assert is_degraded(lab.decisions()), "a message that names no model brings none back"
    assert lab.use_model("good")["detail"] == ""
    assert {item["model_version"] for item in lab.decisions()} == {"good"}
    assert lab.runs_without_a_restart()


def test_a_shadow_that_fails_does_not_change_decisions(lab: FaultStack) -> None:
    lab.change({"shadow_model": {"version": "steady-1", "digest": "f" * 64}})
    assert {item["shadow"]["model_version"] for item in lab.decisions()} == {"steady-1"}

    lab.change({"shadow_model": {"version": "raises-2", "digest": "f" * 64}})
    decided = lab.decisions(30)

    assert {(item["model"], item["model_version"], item["shadow"]) for item in decided} == {("ok", "good", None)}
    lab.change({"shadow_model": None})


def test_the_guard_ends_an_experiment_for_every_subtask_by_one_message(lab: FaultStack) -> None:
    guard: GuardDocument = {
        "min_decisions": 20,
        "max_alert_rate_ratio": 2,
        "min_alert_rate_ratio": 0.5,
        "max_error_share": 0.1,
    }
    trial: ExperimentDocument = {
        "id": "wild", "version": "wild-1", "digest": "f" * 64, "share": 0.5, "guard": guard,
    }  # fmt: skip
    assert lab.change({"alpha": 1.0, "alert_threshold": 0.99, "experiment": trial})["detail"] == ""

    decided = lab.decisions(600)

    variants = {item["customer_id"]: item["variant"] for item in decided}
    assert set(variants.values()) == {"champion", "challenger"}
    assert all((item["model_version"] == "wild-1") is (item["variant"] == "challenger") for item in decided)

    def ended() -> list[dict[str, Any]]:
        return [item for item in jobs.committed(lab.stack, "audit", PREFIX) if item["control_id"] == "guard-wild"]

    told = wait_for(ended, limit_s=240, what="the guard's message in the audit")
    assert told[0]["outcome"] == "applied"
    assert told[0]["changes"] == {"experiment": None}
    assert "times as often" in told[0]["reason"]
    assert {item["variant"] for item in lab.decisions(60)} == {"champion"}
    assert {item["outcome"] for item in ended()[1:]} <= {"duplicate"}, "what the other subtask said changes nothing"
    letters = wait_for(
        lambda: [item for item in lab.incidents() if item["reason"] == "EXPERIMENT_STOPPED"],
        limit_s=240,
        what="the dead letter of the experiment",
    )
    assert 1 <= len(letters) <= 2
    again = lab.change({"experiment": trial})
    assert (again["outcome"], again["detail"]) == (
        "rejected", "the guard has stopped experiment wild; use a new id",
    )  # fmt: skip
    assert lab.runs_without_a_restart()


def test_the_faults_are_counted_and_nothing_was_lost(lab: FaultStack) -> None:
    assert lab.runs_without_a_restart()
    audit = jobs.documents_by_key(lab.stack, "audit", PREFIX)
    applied = [item["revision"] for _, item in audit if item["outcome"] == "applied"]
    assert applied == list(range(1, len(applied) + 1))
    assert all(key == item["control_id"].encode() for key, item in audit)
    letters = jobs.documents_by_key(lab.stack, "dlq", PREFIX)
    assert letters
    assert all(key == item["dlq_id"].encode() for key, item in letters)
    decided = jobs.documents_by_key(lab.stack, "decisions", PREFIX)
    assert decided
    assert all(key == item["customer_id"].encode() for key, item in decided)
