"""The DAGs, really run in this process on a warehouse with decided card transactions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.asset import AssetEvent, AssetModel
from airflow.utils.session import create_session
from sqlalchemy import func, select

from flink_jobs.warehouse import commands
from tests.integration.lineage import read_events, sources_of
from tests.orchestration.states import states

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

Ask = Callable[..., list[tuple[Any, ...]]]
Run = Callable[..., Any]


def asset_events(name: str) -> int:
    with create_session() as session:
        found = session.scalar(
            select(func.count()).select_from(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetModel.name == name)
        )  # fmt: skip
    return int(found or 0)


@pytest.fixture
def complete_kafka(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``streamflow completeness`` find every record: these tests have no Kafka."""

    def compare() -> str:
        ask("INSERT INTO ops.kafka_positions VALUES ('t', 0, 0, 1, 1, 0, 0) ON CONFLICT DO NOTHING")
        return "every record that was read has its row"

    monkeypatch.setattr(commands, "compare_with_kafka", compare)


def test_no_day_is_trusted_while_kafka_does_not_answer(run_dag: Run, ask: Ask) -> None:
    trusted = asset_events("day_trusted")
    run = run_dag("data_quality")
    assert states(run)["compare_with_kafka"] == {"failed"}
    assert states(run)["trust"] == {"upstream_failed"}
    assert asset_events("day_trusted") == trusted
    assert ask("SELECT count(*) FROM ops.quality_results WHERE severity = 'error'") == [(0,)]
    incident = ask("SELECT what FROM ops.incidents WHERE kind = 'task_failed' AND dag_id = 'data_quality'")
    assert "no Kafka broker answers" in incident[0][0]
    ask("DELETE FROM ops.incidents WHERE dag_id = 'data_quality'")


@pytest.mark.usefixtures("complete_kafka")
def test_one_day_goes_from_raw_to_gold(run_dag: Run, ask: Ask, bag: DagBag) -> None:
    """Each DAG is run separately, in the order in which assets would start them."""
    in_default = ask("SELECT count(*) FROM partitions.decisions_default")
    assert in_default != [(0,)]
    health = run_dag("ingestion_health")
    tasks = ("create_partitions", "expire_rows", "note_freshness")
    assert states(health) == {name: {"success"} for name in tasks}
    assert ask("SELECT count(*) FROM partitions.decisions_default") == in_default, "rows never move between partitions"
    assert asset_events("raw_seen") == 1

    quality = run_dag("data_quality")
    assert set.union(*states(quality).values()) == {"success"}
    results = ask("SELECT check_name, severity, violations FROM ops.quality_results")
    assert len(results) >= 7
    assert [row for row in results if row[1] == "error" and row[2]] == []
    assert asset_events("day_trusted") == 1

    gold = run_dag("gold_build")
    assert set.union(*states(gold).values()) == {"success"}, ask("SELECT task_id, what FROM ops.incidents LIMIT 5")
    assert asset_events("gold") == 1
    assert ask("SELECT count(*) FROM gold.fct_transactions") == ask("SELECT count(*) FROM raw.decisions") != [(0,)]
    total = ask("SELECT sum(transaction_count) FROM gold.fct_daily_fraud_summary")
    assert total == ask("SELECT count(*) FROM raw.decisions")
    built = {row[0] for row in ask("SELECT node FROM ops.dbt_results WHERE status = 'success'")}
    models = {task.task_id for task in bag.dags["gold_build"].tasks if "_model_build" in task.task_id}
    assert len(built) >= len(models) >= 20


def test_the_tasks_write_lineage_from_raw_to_gold(lineage: Path) -> None:
    """The events are those of the previous test."""
    events = read_events(lineage)
    assert sources_of(events, "gold.fct_daily_fraud_summary") >= {"raw.decisions", "gold.fct_transactions"}
    jobs = {event["job"]["name"] for event in events}
    assert {"ingestion_health.create_partitions", "gold_build.publish"} <= jobs


@pytest.mark.usefixtures("complete_kafka")
def test_a_bad_day_is_not_trusted_and_is_an_incident(run_dag: Run, ask: Ask) -> None:
    trusted = asset_events("day_trusted")
    one = ask(
        "SELECT customer_id, transaction_id, event_time::date::text FROM raw.decisions ORDER BY event_time LIMIT 1"
    )[0]
    change = "UPDATE raw.decisions SET amount_minor = %s WHERE customer_id = %s AND transaction_id = %s"
    amount = ask("SELECT amount_minor FROM raw.decisions WHERE customer_id = %s AND transaction_id = %s", *one[:2])[0][
        0
    ]
    ask(change, -1, *one[:2])
    run = run_dag("data_quality", day=one[2])
    assert states(run)["gates.check"] == {"success", "failed"}
    assert states(run)["trust"] == {"upstream_failed"}
    assert asset_events("day_trusted") == trusted
    found = ask("SELECT violations, example FROM ops.quality_results WHERE check_name = 'values_out_of_range'"
                " AND checked_day = %s", one[2])  # fmt: skip
    assert found[0][0] == 1
    assert one[1] in found[0][1]
    incidents = ask("SELECT kind, dag_id, task_id, what FROM ops.incidents")
    assert [row[:3] for row in incidents] == [("task_failed", "data_quality", "gates.check")]
    assert "fails the check" in incidents[0][3]

    ask(change, amount, *one[:2])
    assert set.union(*states(run_dag("data_quality", day=one[2])).values()) == {"success"}
    assert asset_events("day_trusted") == trusted + 1
