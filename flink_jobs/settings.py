"""Every setting of StreamFlow, read from the environment.

``streamflow up`` writes the local stack's values to ``stack.env`` in its home folder; variables of the process's own
environment win over that file. Settings that have no sensible default (where Kafka and Postgres are) have none:
:func:`load_settings` says which variable is missing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.broker import Broker

REPO_ROOT = Path(__file__).resolve().parent.parent
ENV_PREFIX = "STREAMFLOW_"
STACK_ENV_FILE = "stack.env"
SECRETS_DIR = "STREAMFLOW_SECRETS_DIR"
"""Names a folder of files such as ``streamflow_postgres_password``; the environment wins over them."""

Guarantee = Literal["exactly_once", "at_least_once"]
ExecutionMode = Literal["thread", "process"]
StartFrom = Literal["committed", "earliest", "latest"]
DatabaseRole = Literal["writer", "transformer", "analyst"]
"""Who may do what in the database: see sql/migrations, roles and layers."""
KafkaRole = Literal["detect", "archive", "traffic", "tools"]
"""Who may do what on Kafka: see flink_jobs/contracts/access.py."""
KafkaSecurity = Literal["PLAINTEXT", "SASL_SSL"]
DatabaseSecurity = Literal["disable", "prefer", "verify-full"]


class Settings(BaseSettings):
    """Where things are and how the job runs. The environment name is ``STREAMFLOW_`` plus the field in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="ignore", frozen=True, protected_namespaces=(), validate_default=True
    )

    kafka_bootstrap_servers: str = Field(description="host:port of one or more brokers, comma separated")
    postgres_host: str
    postgres_port: int = Field(ge=1, le=65535)
    postgres_database: str
    postgres_user: str
    postgres_password: SecretStr
    flink_rest_url: str = Field(description="URL of the JobManager's REST API and web UI, without a final slash")
    checkpoint_dir: str = Field(description="URI Flink writes checkpoints to, such as file:///... or s3://...")
    savepoint_dir: str = Field(description="URI Flink writes savepoints to")

    kafka_security_protocol: KafkaSecurity = Field(
        default="PLAINTEXT", description="SASL_SSL: TLS, and each account logs in with SCRAM-SHA-512"
    )
    kafka_ca_file: Path | None = Field(default=None, description="PEM file of the authority that signs the brokers")
    kafka_secrets_dir: Path | None = Field(
        default=None,
        description="folder with a file for each account this process may use, named as the account and holding its "
        "password alone (a mounted secret); for jobs, at the same path on every TaskManager",
    )
    kafka_user: str | None = Field(
        default=None, description="account for everything; default: each part's own, such as streamflow-detect"
    )
    postgres_ssl_mode: DatabaseSecurity = Field(
        default="prefer", description="verify-full: TLS only, with a certificate of that host by our authority"
    )
    postgres_ca_file: Path | None = Field(default=None, description="PEM file of the authority that signs Postgres")

    postgres_writer_user: str = Field(default="streamflow_writer", description="account of the archive job")
    postgres_writer_password: SecretStr | None = Field(
        default=None, description="without it the job uses the account of `postgres_user`; so for the next two"
    )
    postgres_transformer_user: str = Field(default="streamflow_transformer", description="account of dbt and Airflow")
    postgres_transformer_password: SecretStr | None = None
    postgres_analyst_user: str = Field(default="streamflow_analyst", description="account that reports read gold with")
    postgres_analyst_password: SecretStr | None = None

    report_dir: Path = Field(
        default_factory=lambda: stack_home() / "reports", description="folder of the reports that scheduled runs write"
    )
    backup_dir: Path = Field(default_factory=lambda: stack_home() / "backups", description="folder of backups")
    incident_webhook: SecretStr | None = Field(
        default=None, description="URL that failed tasks and missed deadlines are posted to, as JSON"
    )

    model_dir: Path = Field(default=REPO_ROOT / "models", description="folder of model versions")
    topic_prefix: str = Field(default="streamflow", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    model_version: str | None = Field(
        default=None, description="model to start with; default: the version that the folder's `current` file names"
    )
    artifact_store: str | None = Field(
        default=None,
        pattern=r"^(s3://[^/]+|file:///|/).*",
        description="where models are published: a folder or s3://bucket/prefix, from which the job fetches into its "
        "model folder what that lacks; default: the model folder itself",
    )
    model_budget_ms: int = Field(
        default=5, ge=1, description="longest time a score may take; a model that keeps taking longer is cut off"
    )
    sink_guarantee: Guarantee = Field(
        default="exactly_once",
        description="exactly_once: results are readable after the next checkpoint; at_least_once: at once",
    )
    execution_mode: ExecutionMode = Field(
        default="thread", description="thread: Python inside the TaskManager's JVM; process: a process beside it"
    )
    start_from: StartFrom = Field(
        default="committed",
        description="where a job without a savepoint begins; committed: where the last one stopped, else the earliest",
    )
    checkpoint_interval_ms: int = Field(
        default=5_000, ge=100, description="also the time until exactly_once results can be read"
    )
    checkpoint_timeout_ms: int = Field(
        default=120_000, ge=1_000, description="a checkpoint that takes longer is given up; the job goes on without it"
    )
    transaction_timeout_ms: int = Field(
        default=600_000,
        ge=10_000,
        description="Kafka aborts what is not committed by then; above checkpoint and restart time, within the "
        "broker's transaction.max.timeout.ms",
    )
    state_ttl_days: int = Field(default=180, ge=1, description="a customer not seen for so long is forgotten")
    state_cache_customers: int = Field(
        default=10_000,
        ge=0,
        description="customers per subtask whose decoded state stays in memory, about 3 kB each; 0 for none",
    )
    replay_limit: int = Field(
        default=3, ge=1, description="a dead letter that came back after so many replays is parked: see docs/operate.md"
    )
    idle_timeout_ms: int = Field(
        default=30_000, ge=100, description="a partition silent for so long no longer holds back the watermark"
    )

    @model_validator(mode="after")
    def _what_security_needs(self) -> Self:
        """Refuse half a configuration: it would end as a time-out somewhere else."""
        if self.kafka_security_protocol == "SASL_SSL" and not (self.kafka_ca_file and self.kafka_secrets_dir):
            raise ValueError(
                "STREAMFLOW_KAFKA_SECURITY_PROTOCOL=SASL_SSL needs "
                "STREAMFLOW_KAFKA_CA_FILE and STREAMFLOW_KAFKA_SECRETS_DIR"
            )
        if self.postgres_ssl_mode == "verify-full" and not self.postgres_ca_file:
            raise ValueError("STREAMFLOW_POSTGRES_SSL_MODE=verify-full needs STREAMFLOW_POSTGRES_CA_FILE")
        return self

    def broker(self, role: KafkaRole = "tools") -> Broker:
        """Return how a part of StreamFlow reaches Kafka; the command line is ``tools``."""
        if self.kafka_security_protocol == "PLAINTEXT" or self.kafka_secrets_dir is None:
            return Broker(self.kafka_bootstrap_servers)
        user = self.kafka_user or kafka_account(role)
        return Broker(self.kafka_bootstrap_servers, self.kafka_ca_file, user, self.kafka_secrets_dir / user)

    @property
    def postgres_ssl(self) -> dict[str, str]:
        """What libpq calls these."""
        authority = {"sslrootcert": str(self.postgres_ca_file)} if self.postgres_ca_file else {}
        return {"sslmode": self.postgres_ssl_mode, **authority}

    @property
    def postgres_dsn(self) -> str:
        """The libpq connection string of the owner, with the password: never log it."""
        return self._dsn(self.postgres_user, self.postgres_password)

    def postgres_login(self, role: DatabaseRole) -> tuple[str, SecretStr]:
        """Return user and password of a role; the owner's where the role has no password of its own."""
        user: str = getattr(self, f"postgres_{role}_user")
        password: SecretStr | None = getattr(self, f"postgres_{role}_password")
        return (self.postgres_user, self.postgres_password) if password is None else (user, password)

    def postgres_dsn_as(self, role: DatabaseRole) -> str:
        """Return the libpq connection string of a role, with its password: never log it."""
        return self._dsn(*self.postgres_login(role))

    def _dsn(self, user: str, password: SecretStr) -> str:
        values = {
            "host": self.postgres_host,
            "port": str(self.postgres_port),
            "dbname": self.postgres_database,
            "user": user,
            "password": password.get_secret_value(),
            **self.postgres_ssl,
        }
        return " ".join(f"{name}={_libpq(value)}" for name, value in values.items())

    def masked(self) -> dict[str, str]:
        """Every setting under its environment name, secrets masked: what is logged at start."""
        return {f"{ENV_PREFIX}{name.upper()}": str(getattr(self, name)) for name in type(self).model_fields}


def kafka_account(role: KafkaRole) -> str:
    """Return the name of a part's account on Kafka.

    >>> kafka_account("detect")
    'streamflow-detect'
    """
    return f"streamflow-{role}"


def stack_home() -> Path:
    """Return the folder of the local stack: ``STREAMFLOW_HOME``, or ``.streamflow`` in the repository."""
    return Path(os.environ.get("STREAMFLOW_HOME") or REPO_ROOT / ".streamflow").resolve()


def load_settings(home: Path | None = None) -> Settings:
    """Read the settings from the environment and, below it, from the local stack's ``stack.env``.

    Raises:
        UserError: a required variable is missing or a value is out of range; it names each of them.
    """
    env_file = (home or stack_home()) / STACK_ENV_FILE
    try:
        # The other fields come from the environment, or from files of their names in a folder (mounted secrets).
        return Settings(_env_file=env_file, _secrets_dir=os.environ.get(SECRETS_DIR))  # type: ignore[call-arg]
    except ValidationError as error:
        problems = _explain(error)
        fix = f"run `streamflow up`, or set them in the environment ({env_file} is read too)"
        raise UserError(problems, fix, ErrorCode.SETTINGS_INVALID) from None
    except PermissionError:
        raise UserError(f"cannot read {env_file}", "run as the user who ran `streamflow up`") from None


def _libpq(value: str) -> str:
    """Return a value as libpq reads it in a connection string: quoted where it is not plain."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if escaped != value or " " in value or not value else value


def _explain(error: ValidationError) -> str:
    named = [(ENV_PREFIX + "_".join(map(str, item["loc"])).upper(), item) for item in error.errors()]
    missing = ", ".join(name for name, item in named if item["type"] == "missing")
    wrong = [f"{name}: {item['msg']}" for name, item in named if item["type"] != "missing" and item["loc"]]
    wrong += [str(item["ctx"]["error"]) for _, item in named if not item["loc"]]
    return "; ".join([f"not set: {missing}", *wrong] if missing else wrong)
