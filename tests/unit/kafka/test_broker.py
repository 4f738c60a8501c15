"""How programs reach Kafka and Postgres, plain and secured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError, SaslAuthenticationFailedError, TopicAuthorizationFailedError
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker, sql_options
from flink_jobs.kafka.errors import connection_error
from flink_jobs.settings import Settings, load_settings

REQUIRED: dict[str, Any] = {
    "kafka_bootstrap_servers": "broker:9092", "postgres_host": "db", "postgres_port": 5432, "postgres_database": "d",
    "postgres_user": "u", "postgres_password": SecretStr("p w'\\"), "flink_rest_url": "http://f:8081",
    "checkpoint_dir": "file:///c", "savepoint_dir": "file:///s",
}  # fmt: skip


@pytest.fixture
def secured(tmp_path: Path) -> Settings:
    (tmp_path / "ca.pem").write_text("a certificate")
    for account in ("streamflow-detect", "streamflow-tools"):
        (tmp_path / account).write_text(f"of {account}\n")
    return Settings(
        **REQUIRED,
        kafka_security_protocol="SASL_SSL",
        kafka_ca_file=tmp_path / "ca.pem",
        kafka_secrets_dir=tmp_path,
        postgres_ssl_mode="verify-full",
        postgres_ca_file=tmp_path / "ca.pem",
    )


def test_a_plain_broker_is_only_an_address() -> None:
    broker = Settings(**REQUIRED).broker("detect")
    assert broker.client() == {"bootstrap_servers": "broker:9092", "security_protocol": "PLAINTEXT"}
    assert broker.connector() == {"properties.bootstrap.servers": "broker:9092"}


def test_each_part_has_its_own_account_unless_one_is_named(secured: Settings) -> None:
    assert secured.broker("detect").client()["sasl_plain_username"] == "streamflow-detect"
    assert secured.broker("detect").client()["sasl_plain_password"] == "of streamflow-detect"
    assert secured.broker().user == "streamflow-tools"
    assert secured.model_copy(update={"kafka_user": "mine"}).broker("detect").user == "mine"


def test_both_clients_get_the_same_account(secured: Settings, tmp_path: Path) -> None:
    assert secured.broker("detect").librdkafka() == {
        "bootstrap.servers": secured.kafka_bootstrap_servers,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "streamflow-detect",
        "sasl.password": "of streamflow-detect",
    }
    assert Broker("broker:9092").librdkafka() == {
        "bootstrap.servers": "broker:9092",
        "security.protocol": "PLAINTEXT",
    }


def test_the_connector_gets_the_password_file_and_not_the_password(secured: Settings, tmp_path: Path) -> None:
    options = secured.broker("detect").connector()
    assert f'password="${{directory:{tmp_path}:streamflow-detect}}"' in options["properties.sasl.jaas.config"]
    assert "of streamflow-detect" not in str(options)
    assert options["properties.security.protocol"] == "SASL_SSL"


def test_quotes_in_sql_options_are_doubled() -> None:
    assert sql_options({"a": "it's", "b": "2"}) == "'a' = 'it''s', 'b' = '2'"


@pytest.mark.parametrize("missing", ["ca.pem", "streamflow-detect"])
def test_an_error_names_a_missing_file(secured: Settings, tmp_path: Path, missing: str) -> None:
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=missing):
        secured.broker("detect").client()


def test_incomplete_security_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        monkeypatch.setenv(f"STREAMFLOW_{name.upper()}", text)
    monkeypatch.setenv("STREAMFLOW_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(UserError, match="needs STREAMFLOW_KAFKA_CA_FILE and STREAMFLOW_KAFKA_SECRETS_DIR"):
        load_settings(tmp_path)
    monkeypatch.delenv("STREAMFLOW_KAFKA_SECURITY_PROTOCOL")
    monkeypatch.setenv("STREAMFLOW_POSTGRES_SSL_MODE", "verify-full")
    with pytest.raises(UserError, match="needs STREAMFLOW_POSTGRES_CA_FILE"):
        load_settings(tmp_path)


def test_secrets_can_be_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        if name != "postgres_password":
            monkeypatch.setenv(f"STREAMFLOW_{name.upper()}", str(value))
    monkeypatch.delenv("STREAMFLOW_POSTGRES_PASSWORD", raising=False)
    (tmp_path / "streamflow_postgres_password").write_text("from a file")
    monkeypatch.setenv("STREAMFLOW_SECRETS_DIR", str(tmp_path))
    assert load_settings(tmp_path / "home").postgres_password.get_secret_value() == "from a file"


def test_the_certificate_of_postgres_is_verified(secured: Settings, tmp_path: Path) -> None:
    known = conninfo_to_dict(secured.postgres_dsn)
    assert known["password"] == "p w'\\"
    assert (known["sslmode"], known["sslrootcert"]) == ("verify-full", str(tmp_path / "ca.pem"))


def test_errors_distinguish_password_rights_and_broker(secured: Settings) -> None:
    broker = secured.broker()
    assert "refuses the password of streamflow-tools" in connection_error(broker, SaslAuthenticationFailedError()).what
    assert "does not let streamflow-tools" in connection_error(broker, TopicAuthorizationFailedError()).what
    assert "no Kafka broker answers at b:1 with PLAINTEXT" in connection_error(Broker("b:1"), KafkaTimeoutError()).what
