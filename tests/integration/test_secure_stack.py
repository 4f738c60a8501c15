"""A secured Kafka and Postgres: granted permissions work, and everything else is refused."""

from __future__ import annotations

import gc
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from kafka.errors import KafkaError

from flink_jobs.contracts.access import account_of, grants
from flink_jobs.contracts.topic_contracts import load_contracts, topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka import topics
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.control_client import read_control_state
from flink_jobs.kafka.lag import consumer_lag
from flink_jobs.kafka.producer import connect
from flink_jobs.local.certificates import Certificates
from flink_jobs.local.ports import HOST
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.stack_folder import stack_folder

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    # kafka-python leaves the sockets of a client that was not let in to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _sockets_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def secured() -> Iterator[Stack]:
    with stack_folder("test") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(["kafka", "postgres"], secure=True)
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture(scope="module")
def settings(secured: Stack) -> Settings:
    return secured.settings()


def write(broker: Broker, suffix: str) -> None:
    producer = connect(broker)
    try:
        topic = topic_name("streamflow", suffix)
        producer.send(topic, key=b"k", value=b"{}").get(timeout=120)  # a compacted topic needs a key
    finally:
        producer.close(timeout=1)


def read(broker: Broker, suffix: str) -> None:
    with CommittedReader(broker, [topic_name("streamflow", suffix)]) as reader:
        list(reader.read_to_end())


# ---- granted permissions


def test_the_broker_grants_every_permission_of_the_contracts(settings: Settings) -> None:
    tried = 0
    for contract in load_contracts().values():
        for names, use in ((contract.producers, write), (contract.consumers, read)):
            for account in {account_of(name) for name in names}:
                if account.startswith("streamflow-"):
                    broker = settings.model_copy(update={"kafka_user": account}).broker()
                    use(broker, contract.suffix)
                    tried += 1
    assert tried > 15


def test_operators_see_lag_and_configuration(settings: Settings) -> None:
    assert consumer_lag(settings.broker()) == []
    assert read_control_state(settings.broker(), settings.topic_prefix).config.revision == 0


# ---- refused by Kafka


def not_granted() -> list[tuple[str, str, Callable[[Broker, str], None]]]:
    """Return every account with every topic and operation that no contract grants it."""
    given = {(grant.account, grant.name, grant.operation) for grant in grants(load_contracts(), "streamflow")}
    accounts = sorted({account for account, _, _ in given})
    return [
        (account, contract.suffix, use)
        for account in accounts
        for contract in load_contracts().values()
        for use in (read, write)
        if (account, contract.name, use.__name__) not in given
    ]


@pytest.mark.parametrize(
    ("account", "suffix", "use"),
    [
        ("streamflow-tools", "decisions", write),
        ("streamflow-tools", "labels", read),
        ("streamflow-traffic", "control", write),
        ("streamflow-traffic", "labels", read),
        ("streamflow-archive", "transactions", read),
        ("streamflow-archive", "alerts", write),
        ("streamflow-detect", "labels", read),
        ("streamflow-detect", "transactions", write),
        ("card-processor", "decisions", read),
        ("case-management", "control", write),
    ],
)
def test_a_topic_that_is_not_granted_is_refused(
    settings: Settings, account: str, suffix: str, use: Callable[[Broker, str], None]
) -> None:
    assert (account, suffix, use) in not_granted()
    broker = settings.model_copy(update={"kafka_user": account}).broker()
    with pytest.raises((UserError, KafkaError), match=r"may use|does not let|AuthorizationFailed"):
        use(broker, suffix)


def test_a_wrong_password_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong")
    read(settings.broker(), "audit")  # the right password works on the same listener
    with pytest.raises(UserError, match="no Kafka broker answers") as error:
        connect(replace(settings.broker(), password_file=tmp_path / "wrong"))
    assert "not that of streamflow-tools" in error.value.fix
    with pytest.raises(UserError, match="refuses the password of streamflow-tools"):
        read(replace(settings.broker(), password_file=tmp_path / "wrong"), "audit")


def test_an_unknown_account_is_refused(settings: Settings) -> None:
    with pytest.raises(UserError, match="not that of nobody"):
        connect(replace(settings.broker(), user="nobody"))


def test_a_plain_connection_is_refused(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"no Kafka broker answers at .* with PLAINTEXT"):
        connect(Broker(settings.kafka_bootstrap_servers))


def test_a_broker_of_another_authority_is_not_trusted(settings: Settings, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other")
    assert other.ensure()
    with pytest.raises(UserError, match="no Kafka broker answers"):
        connect(replace(settings.broker(), ca_file=other.authority))


@pytest.mark.parametrize("listener", ["kafka.internal", "kafka.controller"])
def test_the_brokers_internal_listeners_require_a_certificate(
    secured: Stack, settings: Settings, listener: str
) -> None:
    context = ssl.create_default_context(cafile=str(settings.kafka_ca_file))
    place = (HOST, secured.record.ports[listener])
    with (
        socket.create_connection(place, timeout=60) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as tls,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        tls.recv(1)  # in TLS 1.3 the server rejects a client without a certificate after the client's last message


def test_only_the_administrator_creates_topics(settings: Settings) -> None:
    with topics.admin(settings.broker()) as client, suppress(KafkaError):
        client.create_topics({"streamflow.of-my-own": {"num_partitions": 1, "replication_factor": 1}})
    with topics.admin(settings.broker()) as client:
        assert "streamflow.of-my-own" not in client.list_topics()


# ---- refused by Postgres


def test_postgres_accepts_tls_and_scram_only(settings: Settings, tmp_path: Path) -> None:
    with psycopg.connect(settings.postgres_dsn) as connection:
        row = connection.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        kinds = connection.execute("SELECT DISTINCT left(rolpassword, 13) FROM pg_authid WHERE rolcanlogin").fetchall()
    assert row == ("TLSv1.3",)
    assert kinds == [("SCRAM-SHA-256",)]
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(settings.postgres_dsn, sslmode="disable")
    password = settings.postgres_password.get_secret_value()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(settings.postgres_dsn.replace(password, "wrong"))
    other = Certificates(tmp_path / "other")
    other.ensure()
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(settings.postgres_dsn, sslrootcert=str(other.authority))


def test_the_writer_reads_no_gold_and_the_analyst_nothing_else(settings: Settings) -> None:
    with psycopg.connect(settings.postgres_dsn_as("transformer")) as connection:
        connection.execute("CREATE TABLE gold.probe AS SELECT 1 AS n")
    with psycopg.connect(settings.postgres_dsn_as("analyst")) as connection:
        assert connection.execute("SELECT n FROM gold.probe").fetchone() == (1,)
    with (
        psycopg.connect(settings.postgres_dsn_as("writer")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT n FROM gold.probe")
    for table in ("raw.decisions", "ops.control_audit"):
        with (
            psycopg.connect(settings.postgres_dsn_as("analyst")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(f"SELECT 1 FROM {table}")  # noqa: S608 - named above


# ---- files on disk


def test_only_their_owner_can_read_secret_files(secured: Stack, settings: Settings) -> None:
    files = [path for path in secured.home.secrets.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(secured.home.secrets.stat().st_mode) == 0o700
    shown = str(settings.masked())
    for path in secured.home.kafka_passwords.iterdir():
        assert path.read_text() not in shown


def test_a_running_stack_cannot_change_its_security(secured: Stack) -> None:
    with pytest.raises(UserError, match="is up with security"):
        secured.up(["kafka"], secure=False)
