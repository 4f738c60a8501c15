"""The local stack with real servers: all processes run after ``up``, and none is left after ``down``."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.errors import UserError
from flink_jobs.kafka import lag, topics
from flink_jobs.local import envfile, ports, process, toolchain
from flink_jobs.local.checkout import PYTHON
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.stack_control import kill_taskmanager, start_taskmanager
from tests.stack_folder import stack_folder

pytestmark = pytest.mark.stack


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield an empty folder that the user of Postgres can access."""
    with stack_folder("test") as folder:
        yield folder / "home"


def cli(stack_home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "STREAMFLOW_HOME": str(stack_home)}
    command = [str(PYTHON), "-m", "flink_jobs.cli", *arguments]
    return subprocess.run(command, env=env, cwd=REPO_ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_every_process_runs_and_is_recorded(stack: Stack) -> None:
    found = {item.name: item for item in stack.status()}
    assert set(found) == {"postgres", "kafka", "jobmanager", "taskmanager-1", "taskmanager-2"}
    assert {item.state for item in found.values()} == {"running"}
    for name, port in (("postgres", "postgres"), ("kafka", "kafka"), ("jobmanager", "rest")):
        assert ports.is_open(found[name].ports[port])


def test_flink_offers_one_slot_per_taskmanager(stack: Stack) -> None:
    overview = stack.rest().overview()
    assert (overview["taskmanagers"], overview["slots-total"]) == (2, 2)


def test_metrics_are_served_on_the_recorded_ports(stack: Stack) -> None:
    found = {item.name: item for item in stack.status()}
    for name in ("jobmanager", "taskmanager-1", "taskmanager-2"):
        assert ports.is_open(found[name].ports[f"{name}.prometheus"])


def test_topics_are_those_of_the_contracts(stack: Stack) -> None:
    contracts = {contract.name: contract for contract in load_contracts().values()}
    assert contracts
    with topics.admin(stack.settings().broker()) as admin:
        found = {item["name"]: len(item["partitions"]) for item in admin.describe_topics(list(contracts))}
    assert found == {name: contract.partitions for name, contract in contracts.items()}


def test_consumer_lag_is_end_minus_position(stack: Stack) -> None:
    """No job reads this topic; the test commits the position itself."""
    broker, group, partition = stack.settings().broker(), "lag-test", TopicPartition("lag-test", 0)
    with topics.admin(broker) as admin:
        admin.create_topics({"lag-test": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        producer = KafkaProducer(**broker.client())
        for _ in range(10):
            producer.send("lag-test", b"x")
        producer.close()

        def commit() -> bool:
            """Commit the offset; False while the broker is still creating its offsets topic."""
            try:
                answer = admin.alter_group_offsets(group, {partition: OffsetAndMetadata(4, "", -1)})
            except KafkaError:
                return False
            return bool(answer[partition] is NoError)

        wait_for(commit, limit_s=240, what="the offset to be committed")
    found = wait_for(
        lambda: next((item for item in lag.consumer_lag(broker) if item.group == group), None),
        limit_s=240,
        what="the lag of the group",  # the answer is empty while the broker cannot give one
    )
    assert (found.topic, found.position, found.end, found.lag) == ("lag-test", 4, 10, 6)


def test_tables_have_their_keys_and_utc_times(stack: Stack) -> None:
    keys = """
        SELECT tc.table_schema || '.' || tc.table_name, array_agg(k.column_name::text ORDER BY k.ordinal_position)
        FROM information_schema.table_constraints tc
        JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name, table_name)
        WHERE tc.constraint_type = 'PRIMARY KEY' AND tc.table_schema IN ('raw', 'ops') GROUP BY 1
    """
    with psycopg.connect(stack.settings().postgres_dsn) as connection:
        assert dict(connection.execute(keys).fetchall()) == {
            "raw.decisions": ["customer_id", "transaction_id", "event_time_ms"],
            "raw.alerts": ["alert_id", "event_time_ms"],
            "raw.dead_letters": ["dlq_id", "received_ms"],
            "raw.labels": ["label_id"],
            "raw.user_actions": ["action_id"],
            "ops.control_audit": ["control_id", "outcome"],
            "ops.schema_migrations": ["version"],
            "ops.model_drift": ["checked_at", "model_version", "subject", "measure"],
            "ops.partition_policy": ["table_name"],
            "ops.quality_results": ["check_name", "checked_day"],
            "ops.dbt_results": ["invocation_id", "node"],
            "ops.incidents": ["incident_id"],
            "ops.dead_letter_report": ["set_aside_on", "stage", "reason", "disposition"],
            "ops.backups": ["backup_name"],
            "ops.kafka_positions": ["topic", "partition"],
            "ops.redrive_runs": ["run_id"],
            "ops.masking_log": ["entry_id"],
            "ops.retention_log": ["entry_id"],
            "ops.superseded_decisions": ["source_topic", "source_partition", "source_offset"],
            "ops.offsets_without_record": ["topic", "partition", "first_offset"],
            "ops.redrives": ["redrive_id"],
            "ops.quality_days": ["day"],
        }
        connection.execute(
            "INSERT INTO ops.control_audit (control_id, schema_version, revision, outcome, issued_at_ms, applied_at_ms,"
            " changes) VALUES ('utc-times', 1, 1, 'applied', 1700000000123, 9000000000000, '{}')"
        )
        row = connection.execute(
            "SELECT issued_at, applied_at FROM ops.control_audit WHERE control_id = 'utc-times'"
        ).fetchone()
        assert row is not None
        assert [moment.isoformat() for moment in row] == [
            "2023-11-14T22:13:20.123000+00:00",
            "2255-03-14T16:00:00+00:00",
        ]
        connection.rollback()


def test_the_database_requires_the_password(stack: Stack) -> None:
    dsn = stack.settings().postgres_dsn
    password = stack.settings().postgres_password.get_secret_value()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn.replace(password, "wrong"))
    assert stat.S_IMODE(stack.home.env_file.stat().st_mode) == 0o600


def test_up_again_changes_nothing(stack: Stack) -> None:
    before = {item.name: item.pid for item in stack.status()}
    stack.up(taskmanagers=2)
    assert {item.name: item.pid for item in stack.status()} == before


def test_a_changed_migration_is_rejected(stack: Stack, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text() + "-- changed\n")
    with pytest.raises(UserError, match="was changed after"):
        apply_migrations(stack.settings().postgres_dsn, tmp_path)


def test_a_killed_taskmanager_can_be_started_again(stack: Stack) -> None:
    before = {item.name: item.pid for item in stack.status()}
    kill_taskmanager(stack, 1)
    assert {item.name: item.state for item in stack.status()}["taskmanager-1"] == "dead"
    start_taskmanager(stack, 1)
    after = {item.name: item.pid for item in stack.status()}
    assert {name for name in before if before[name] != after[name]} == {"taskmanager-1"}


def test_status_as_json(stack: Stack) -> None:
    result = cli(stack.home.root, "status", "--output", "json")
    assert result.returncode == 0, result.stderr
    status = json.loads(result.stdout)
    assert status["flink_ui"] == stack.settings().flink_rest_url
    assert {item["state"] for item in status["components"]} == {"running"}


def test_the_command_line_starts_and_stops_a_stack(home: Path) -> None:
    """Without Flink, whose start takes 20 s: ``up`` through the API, then ``down`` as a command."""
    Stack(home).up(["postgres", "kafka"])
    stack_id = Stack(home).record.stack_id
    records = list(Stack(home).record.processes.values())
    assert process.marked(stack_id), "no process has the marker, so the check below would prove nothing"
    result = cli(home, "down")
    assert result.returncode == 0, result.stderr
    assert not any(map(process.is_alive, records))
    assert process.marked(stack_id) == []
    assert cli(home, "down").stderr.startswith("Nothing was running")


def test_data_and_password_survive_a_restart(home: Path) -> None:
    stack = Stack(home)
    try:
        first = stack.up(["postgres"])
        with psycopg.connect(first.postgres_dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        stack.down()
        second = stack.up(["postgres"])
        with psycopg.connect(second.postgres_dsn) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
        assert envfile.read(stack.home.env_file)["STREAMFLOW_POSTGRES_PORT"] == str(second.postgres_port)
    finally:
        stack.down(wipe=True)
    assert not home.exists()


def test_a_killed_test_run_leaves_no_process_and_no_folder() -> None:
    code = """
import time
from flink_jobs.local.stack import Stack
from tests.stack_folder import stack_folder
with stack_folder("killed") as folder:
    stack = Stack(folder / "home")
    stack.up(["postgres", "kafka"])
    print(stack.record.stack_id, folder, flush=True)
    time.sleep(600)
"""
    run = subprocess.Popen([sys.executable, "-c", code], cwd=REPO_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        stack_id, folder = run.stdout.readline().split()
        assert process.marked(stack_id)
    finally:
        run.kill()
        run.communicate()
    wait_for(lambda: not Path(folder).exists(), limit_s=240, what="the guard to delete the folder")
    assert process.marked(stack_id) == []


def test_the_error_names_a_port_in_use_and_no_process_is_left(home: Path, stack: Stack) -> None:
    taken = stack.settings().postgres_port
    with pytest.raises(UserError, match=f"port {taken} for postgres is in use"):
        Stack(home).up(["postgres"], wanted_ports={"postgres": taken})
    assert Stack(home).status() == []


def test_a_component_that_cannot_start_stops_the_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of Kafka fails after Postgres has started; neither may keep running."""
    started: list[str] = []
    spawn = process.spawn

    def broken(command: process.Command, stack_id: str) -> process.ProcessRecord:
        started.append(command.name)
        argv = command.argv if command.name == "postgres" else ["/bin/sh", "-c", "echo no such thing; exit 3"]
        return spawn(
            process.Command(
                command.name, argv, command.log, command.env, command.cwd, command.stop_signal, command.user
            ),
            stack_id,
        )

    monkeypatch.setattr(process, "spawn", broken)
    stack = Stack(home)
    with pytest.raises(UserError, match="kafka ended while starting") as error:
        stack.up(["postgres", "kafka"])
    assert "no such thing" in error.value.fix
    assert sorted(started) == ["kafka", "postgres"]
    assert process.marked(stack.record.stack_id) == []
    assert stack.status() == []


def test_the_tools_are_found() -> None:
    assert (toolchain.find_java() / "bin" / "java").exists()
    folder, major = toolchain.find_postgres()
    assert (folder / "postgres").exists()
    assert major >= toolchain.POSTGRES_MINIMUM
