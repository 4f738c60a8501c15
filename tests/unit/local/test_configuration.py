"""The configuration files of Kafka, Flink and Postgres."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
import yaml

from flink_jobs.errors import UserError
from flink_jobs.local import checkout, flink, kafka, postgres, toolchain, zookeeper
from flink_jobs.local.home import Home
from flink_jobs.settings import REPO_ROOT
from flink_jobs.warehouse import migrations
from flink_jobs.warehouse.paths import MIGRATIONS


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_broker_behaves_like_a_real_one(tmp_path: Path) -> None:
    values = properties(kafka.render_properties(tmp_path, kafka.Ports(1111, 2222)))
    assert values["auto.create.topics.enable"] == "false"
    assert values["transaction.max.timeout.ms"] == str(15 * 60 * 1000)
    assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1111"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:2222"
    assert values["log.dirs"] == str(tmp_path / "data")


def test_the_cluster_listens_on_loopback_only_and_has_one_slot(tmp_path: Path) -> None:
    values = yaml.safe_load(flink.render(flink.config(Home(tmp_path), 8081, 6123)))
    assert {values[key] for key in values if key.endswith(("bind-host", "bind-address", ".host", ".address"))} == {
        "127.0.0.1"
    }
    assert values["taskmanager.numberOfTaskSlots"] == 1
    assert values["execution.checkpointing.dir"] == (tmp_path / "flink" / "checkpoints").as_uri()
    assert "--add-opens=java.base/java.lang=ALL-UNNAMED" in values["env.java.opts.all"]
    assert values["env.java.opts.all"].endswith("-Duser.timezone=UTC")


def test_with_a_zookeeper_jobs_outlive_their_jobmanager(tmp_path: Path) -> None:
    without = flink.config(Home(tmp_path), 8081, 6123)
    assert not [name for name in without if name.startswith("high-availability")]
    values = flink.config(Home(tmp_path), 8081, 6123, zookeeper_port=2181)
    assert values["high-availability.zookeeper.quorum"] == "127.0.0.1:2181"
    assert values["high-availability.storageDir"] == (tmp_path / "flink" / "ha").as_uri()
    keeper = properties(zookeeper.render(tmp_path, 2181))
    assert (keeper["clientPort"], keeper["clientPortAddress"]) == ("2181", "127.0.0.1")


def test_flinks_environment_ignores_the_callers_flink_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLINK_ENV_JAVA_OPTS", "-Xmx1m")
    monkeypatch.setenv("HADOOP_CLASSPATH", "/elsewhere")
    env = flink.environment(Home(tmp_path), Path("/java"), "client")
    assert not {"FLINK_ENV_JAVA_OPTS", "HADOOP_CLASSPATH"} & set(env)
    assert env["PYTHONPATH"].split(":") == [str(checkout.SITE_PACKAGES), str(REPO_ROOT)]
    assert env["FLINK_LIB_DIR"] == str(checkout.FLINK_LIB)


def test_a_taskmanager_gets_its_own_id_and_port(tmp_path: Path) -> None:
    command = flink.task_manager_command(Home(tmp_path), Path("/java"), 2, 9250, "taskmanager-2-abc")
    assert command.name == "taskmanager-2"
    assert command.argv[1:] == [
        "start-foreground",
        "-D",
        "metrics.reporter.prom.port=9250",
        "-D",
        "taskmanager.resource-id=taskmanager-2-abc",
    ]


def test_postgres_moves_where_its_account_can_reach_it(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    moved = postgres.data_folder(closed / "postgres", nobody)
    assert moved.parent == Path("/var/tmp")
    assert moved == postgres.data_folder(closed / "postgres", nobody)
    assert moved != postgres.data_folder(closed / "other", nobody)
    assert postgres.data_folder(closed / "postgres", None) == closed / "postgres"
    assert postgres.data_folder(Path("/usr/share/x"), nobody) == Path("/usr/share/x")


def test_the_postgres_command_sets_address_port_and_stop_signal(tmp_path: Path) -> None:
    command = postgres.command(tmp_path, Path("/bin"), 5433, tmp_path / "log", None)
    assert {"listen_addresses=127.0.0.1", "unix_socket_directories=", "port=5433"} <= set(command.argv)
    assert command.stop_signal.name == "SIGINT"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("release", "major"), [('JAVA_VERSION="17.0.15"\n', 17), ('JAVA_VERSION="25"\n', 25), ("", None), (None, None)]
)
def test_a_java_home_is_recognised_by_its_release_file(tmp_path: Path, release: str | None, major: int | None) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    if release is not None:
        (tmp_path / "release").write_text(release)
    assert toolchain.java_major(tmp_path) == major


def test_the_projects_migrations_are_in_order() -> None:
    assert migrations.read_migrations(MIGRATIONS)[0].name == "0001_sink_tables.sql"


@pytest.mark.parametrize("names", [[], ["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["first.sql"]])
def test_migrations_with_gaps_or_other_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(UserError):
        migrations.read_migrations(tmp_path)
