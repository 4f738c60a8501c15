"""A model with inputs of every entity and own features on the real jobs: scores equal the replay, in both crossings.

``POST /v1/score`` of an API that reads the same rows gives the same decision.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from api.keys import Scope, create_key
from api.settings import ApiSettings
from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.keys import entity_key, split_key
from flink_jobs.core.merchants.row import EntityRow, parse_row, row_of
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.state.customer import transaction_fingerprint
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.check import check_savepoint
from flink_jobs.flink.savepoints.entities import entities_without_history
from flink_jobs.kafka.label_sender import labels_of, send_labels
from flink_jobs.kafka.producer import connect
from flink_jobs.waiting import wait_for
from ml.artifact_writer import set_current, write_artifact
from ml.dataset import build_dataset
from ml.entity_risk import with_risk
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.integration import jobs
from tests.integration.api_server import client, serving
from tests.integration.case_database import own_database
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flink_jobs.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "merchants"
WAIT_S = 400
MINUTE_MS = 60_000
PARAMETERS = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, risk_entities=tuple(Entity), own_features=True
)
OWN = OwnValues(load_features(read_sources([EXAMPLE], FOLDER)))


def test_rows_and_scores_equal_the_replay_in_both_crossings_and_after_a_savepoint(stack: Stack, tmp_path: Path) -> None:
    jobs.own_topics(stack, PREFIX)
    history, later, slot = history_and_later()
    version, expected = trained(tmp_path, [*history, *later])
    settings, rest = stack.settings(), stack.rest()
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "300",
        "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
        "STREAMFLOW_MODEL_DIR": str(tmp_path),
        "STREAMFLOW_RISK_ENTITIES": ",".join(Entity),
        "STREAMFLOW_FEATURES": EXAMPLE,
        "STREAMFLOW_FEATURES_DIR": str(FOLDER),
        "STREAMFLOW_CROSSING": "batched",
        "STREAMFLOW_MODEL_BUDGET_MS": "10000",
    }
    started = [jobs.start_job(stack, "detect", environment)]
    with ExitStack() as opened:
        opened.callback(lambda: end(stack, started))
        http = opened.enter_context(api(stack, tmp_path))
        assert scored(http, later[0], history)["model_problem"] == "histories_not_current"
        known = list(labels_of(history, "chargeback", "desk", 7.0, NOW_MS, lambda: None))
        send_labels(settings.broker(), PREFIX, known)
        assert jobs.account(stack, jobs.send(stack, history, prefix=PREFIX), PREFIX).is_as_expected
        started.append(jobs.start_job(stack, "merchants", environment))
        rows = rows_by_hand(history, slot)
        wait_for(lambda: newest_rows(stack) == rows, limit_s=WAIT_S, what="the rows of the replay")
        wait_for(
            lambda: jobs.rows_read(stack, started[0]) == len(jobs.committed(stack, "merchant-risk", PREFIX)),
            limit_s=WAIT_S,
            what="the detector to read every row",
        )
        learned = rest.savepoint(started[1], settings.savepoint_dir)
        assert entities_without_history(learned, tuple(Entity)) == ()
        middle = len(later) // 2
        decided = compare(stack, later[:middle], expected, version)
        compare_with_api(stack, http, (history, later[:middle]), decided, len(rows))
        savepoint = rest.stop_with_savepoint(started[0], settings.savepoint_dir)
        with pytest.raises(UserError, match="was written with rows of merchants"):
            check_savepoint(savepoint, "detect", "thread", entities=())
        started.append(
            jobs.start_job(stack, "detect", {**environment, "STREAMFLOW_CROSSING": "single"}, savepoint=savepoint)
        )
        compare(stack, later[middle:], expected, version)


def end(stack: Stack, started: list[str]) -> None:
    """Cancel the jobs that still run."""
    active = {item.job_id for item in stack.rest().active_jobs()}
    for job in started:
        if job in active:
            stack.rest().cancel(job)


@contextmanager
def api(stack: Stack, models: Path) -> Iterator[httpx.Client]:
    """Yield a client of an API that has the settings of the detector, and has read the topic of rows once."""
    changes = {
        "topic_prefix": PREFIX, "model_dir": models, "risk_entities": ",".join(Entity), "features": EXAMPLE,
        "features_dir": FOLDER,
    }  # fmt: skip
    with own_database(stack.settings().model_copy(update=changes), "histories") as settings:
        key = create_key(settings.postgres_dsn, "test", [Scope.SCORE], created_by="test")
        headers = {"Authorization": f"Bearer {key}"}
        own = ApiSettings(case_work=False, model_work=False, refresh_s=0.5, rate_per_s=10_000)
        with serving(settings, own) as url, client(url, headers) as http:
            wait_for(lambda: http.get("/health/ready").json()["histories"], limit_s=WAIT_S, what="the topic of rows")
            event = SourceEvent({"transaction_id": "first", "customer_id": "first", "amount_minor": 1,
                                 "currency": "EUR", "event_time_ms": 1_700_000_000_000}, label=None)  # fmt: skip
            wait_for(
                lambda: scored(http, event, [])["decision"]["ml_score"] is not None, limit_s=WAIT_S, what="a model"
            )
            yield http


def scored(http: httpx.Client, event: SourceEvent, before: list[SourceEvent]) -> dict[str, Any]:
    """Return the API's answer on a purchase with all earlier ones of its customer as history."""
    sent = event.transaction
    known = [item.transaction for item in before if item.transaction["customer_id"] == sent["customer_id"]]
    answer = http.post("/v1/score", json={"transaction": sent, "history": known})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def compare_with_api(
    stack: Stack,
    http: httpx.Client,
    events: tuple[list[SourceEvent], list[SourceEvent]],
    decided: dict[str, dict[str, Any]],
    rows: int,
) -> None:
    """Compare the decision of the detector on each purchase with the API's answer; a damaged row changes nothing."""
    producer = connect(stack.settings().broker())
    try:
        producer.send(f"{PREFIX}.merchant-risk", key=b"damaged", value=b"no json").get(timeout=120)
    finally:
        producer.close()

    def is_read() -> bool:
        lines = http.get("/metrics").text.splitlines()
        held = [line for line in lines if line.startswith("streamflow_api_history_rows{")]
        is_rejected = 'streamflow_api_history_rows_read_total{outcome="rejected"} 1.0' in lines
        return is_rejected and sum(float(line.rpartition(" ")[2]) for line in held) == rows

    wait_for(is_read, limit_s=WAIT_S, what="the API to read every row, and to reject the damaged one")
    before, later = events
    for number, event in enumerate(later):
        answer = scored(http, event, [*before, *later[:number]])
        detector = decided[event.transaction["transaction_id"]]
        names = ("ml_score", "score", "threshold", "is_alert", "features", "reasons", "model_version")
        assert {name: answer["decision"][name] for name in names} == {name: detector[name] for name in names}
        assert answer["model_problem"] is None


def history_and_later() -> tuple[list[SourceEvent], list[SourceEvent], int]:
    """Return purchases up to the beginning of a slot, those that use the row of this slot, and the slot.

    The history ends with purchases six minutes into the slot: they use the row before, and bring time forward.
    """
    events = list(events_with_ids(generate(World(60, 200, 45, 3))))
    slot = events[-1].transaction["event_time_ms"] // SLOT_MS - 1
    begin = slot * SLOT_MS
    ticks = [
        SourceEvent(
            {
                "transaction_id": f"tick-{number}", "customer_id": f"tick-{number}", "amount_minor": 1_000,
                "currency": "EUR", "event_time_ms": begin + 6 * MINUTE_MS, "merchant": "tick",
            },
            label=False,
        )
        for number in range(12)
    ]  # fmt: skip
    history = [event for event in events if event.transaction["event_time_ms"] < begin]
    later = [
        event for event in events if begin + 10 * MINUTE_MS <= event.transaction["event_time_ms"] < begin + SLOT_MS
    ]
    assert len(later) > 10, "a slot with too few purchases"
    return [*history, *ticks], later, slot


def trained(folder: Path, events: list[SourceEvent]) -> tuple[str, dict[str, float]]:
    """Publish a model with inputs of every entity as the current one; return version and scores by transaction."""
    whole = with_risk(build_dataset(iter(events), NOW_MS, own=OWN), tuple(Entity))
    provenance = Provenance("terminals.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
    model = train_model(whole, PARAMETERS, provenance)
    write_artifact(folder, model.manifest, model.arrays)
    set_current(folder, model.manifest.version)
    assert model.manifest.own_features is not None
    scores = score_rows(build_model(model.manifest, model.arrays, OFFLINE_FEATURES, own=OWN), whole)
    return model.manifest.version, dict(zip(whole.transaction_ids, scores.tolist(), strict=True))


def rows_by_hand(events: list[SourceEvent], slot: int) -> dict[str, EntityRow]:
    """Return the row of each entity from states that never became bytes."""
    states: defaultdict[str, MerchantState] = defaultdict(MerchantState)
    for event in events:
        row = event.transaction
        time_ms = row["event_time_ms"]
        for entity in Entity:
            if (name := row.get(entity.value)) is None:
                continue
            state = states[entity_key(entity, name)]
            state.update(time_ms, row["amount_minor"] / 100, 7)
            if event.label:
                fingerprint = transaction_fingerprint(f"{row['customer_id']}\x1f{row['transaction_id']}")
                state.learn(fingerprint, time_ms, is_fraud=True)
    rows = {key: row_of(split_key(key)[1], state, slot, split_key(key)[0]) for key, state in states.items()}
    for entity in Entity:
        assert sum(row.windows[-1].frauds for row in rows.values() if row.entity is entity) > 0
    return {name: row for name, row in rows.items() if not row.is_empty}


def newest_rows(stack: Stack) -> dict[str, EntityRow]:
    """Return the newest committed row of each entity that has history."""
    rows = [parse_row(orjson.dumps(item)) for item in jobs.committed(stack, "merchant-risk", PREFIX)]
    newest = {row.key: row for row in rows if not isinstance(row, str)}
    return {name: row for name, row in newest.items() if not row.is_empty}


def compare(
    stack: Stack, events: list[SourceEvent], expected: dict[str, float], version: str
) -> dict[str, dict[str, Any]]:
    """Send purchases and compare the score of each with that of the replay; return all decisions by transaction."""
    assert jobs.account(stack, jobs.send(stack, events, prefix=PREFIX), PREFIX).is_as_expected
    decided: dict[str, Any] = {item["transaction_id"]: item for item in jobs.committed(stack, "decisions", PREFIX)}
    names = [event.transaction["transaction_id"] for event in events]
    assert {decided[name]["model_version"] for name in names} == {version}
    assert [decided[name]["ml_score"] for name in names] == [expected[name] for name in names]
    assert all("own_quiet_days" in decided[name]["features"] for name in names)
    return decided
