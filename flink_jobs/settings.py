"""Every setting of StreamFlow, read from the environment.

``streamflow up`` writes the local stack's values to ``stack.env`` in its home folder; environment variables of the
process take precedence over that file. Addresses (Kafka, Postgres, Flink) have no default: :func:`load_settings` names
the missing variables.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from flink_jobs.canary_settings import CanarySettings
from flink_jobs.database_logins import DatabaseLogins, DatabaseRole
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.guarantee import Guarantee
from flink_jobs.lake_settings import LakeSettings
from flink_jobs.libpq import connection_string
from flink_jobs.model_settings import ModelSettings
from flink_jobs.registry_settings import SchemaRegistrySettings
from flink_jobs.risk_settings import RiskSettings
from flink_jobs.trace_settings import TraceSettings

REPO_ROOT = Path(__file__).resolve().parent.parent
ENV_PREFIX = "STREAMFLOW_"
STACK_ENV_FILE = "stack.env"
STACK_HOME = "STREAMFLOW_STACK_HOME"
"""In ``stack.env``: the folder of the stack that wrote the file. A copied folder must not act on the original stack."""
SECRETS_DIR = "STREAMFLOW_SECRETS_DIR"
"""Names a folder of files such as ``streamflow_postgres_password``; environment variables take precedence."""

# Kafka's and Flink's documents write `at-least-once`.
GuaranteeText = Annotated[Guarantee, BeforeValidator(lambda text: text.replace("-", "_"))]
ExecutionMode = Literal["thread", "process"]
Crossing = Literal["auto", "batched", "single"]
StartFrom = Literal["committed", "earliest", "latest"]
KafkaRole = Literal["detect", "canary", "archive", "lake", "merchants", "traffic", "tools", "api"]
"""A Kafka account; ``flink_jobs/contracts/access.py`` defines its rights."""
KafkaSecurity = Literal["PLAINTEXT", "SASL_SSL"]
DatabaseSecurity = Literal["disable", "prefer", "verify-full"]


class Settings(
    CanarySettings, DatabaseLogins, LakeSettings, ModelSettings, RiskSettings,
    SchemaRegistrySettings, TraceSettings,
):  # fmt: skip
    """Addresses, credentials and job options. The variable is ``STREAMFLOW_`` plus the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="ignore", frozen=True, protected_namespaces=(), validate_default=True
    )

    kafka_bootstrap_servers: str = Field(description="host:port of one or more brokers, separated by commas")
    postgres_host: str
    postgres_port: int = Field(ge=1, le=65535)
    postgres_database: str
    postgres_user: str
    postgres_password: SecretStr
    flink_rest_url: str = Field(description="URL of the JobManager's REST API and web UI, without a final slash")
    checkpoint_dir: str = Field(description="URI Flink writes checkpoints to, such as file:///... or s3://...")
    savepoint_dir: str = Field(description="URI Flink writes savepoints to")

    kafka_security_protocol: KafkaSecurity = Field(
        default="PLAINTEXT", description="SASL_SSL: TLS, and accounts log in with SCRAM-SHA-512"
    )
    kafka_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signs the brokers' certificates"
    )
    kafka_secrets_dir: Path | None = Field(
        default=None,
        description="folder with one password file per account (a mounted secret): the file's name is the account, its "
        "content the password; jobs need it at the same path on every TaskManager",
    )
    kafka_user: str | None = Field(
        default=None, description="one account for all parts; default: each part has its own, such as streamflow-detect"
    )
    postgres_ssl_mode: DatabaseSecurity = Field(
        default="prefer",
        description="verify-full: TLS only; the certificate must be for the host name and from our authority",
    )
    postgres_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signs Postgres's certificate"
    )

    report_dir: Path = Field(
        default_factory=lambda: stack_home() / "reports", description="folder for reports of scheduled runs"
    )
    backup_dir: Path = Field(default_factory=lambda: stack_home() / "backups", description="folder for backups")
    backup_store: str | None = Field(
        default=None,
        pattern=r"^s3://[^/]+(/.*)?$",
        description="place for backups on a service with an S3 interface, s3://bucket/prefix; default: `backup_dir`",
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="address on which commands serve Prometheus metrics; in a container 0.0.0.0"
    )
    incident_webhook: SecretStr | None = Field(
        default=None, description="URL to which failed tasks and missed deadlines are posted as JSON"
    )

    model_dir: Path = Field(default=REPO_ROOT / "models", description="folder of model versions")
    topic_prefix: str = Field(default="streamflow", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    model_version: str | None = Field(
        default=None,
        description="model version at the start; default: the version in the model folder's `current` file",
    )
    artifact_store: str | None = Field(
        default=None,
        pattern=r"^(s3://[^/]+|file:///|/).*",
        description="place where models are published: a folder or s3://bucket/prefix; the job copies missing versions "
        "from it into its model folder; default: the model folder itself",
    )
    model_budget_ms: int = Field(
        default=5, ge=1, description="longest time for one score; a model that repeatedly takes longer is disabled"
    )
    sink_guarantee: GuaranteeText = Field(
        default="exactly_once",
        description="exactly_once: decisions, dead letters and audit records are readable after the next checkpoint; "
        "at_least_once: at once",
    )
    alerts_guarantee: GuaranteeText = Field(
        default="at_least_once",
        description="at_least_once: an alert is readable at once, and may come again after a failure; exactly_once: "
        "readable after the next checkpoint",
    )
    buffer_timeout_ms: int = Field(default=5, ge=0, le=1_000, description="longest wait of a record between two tasks")
    execution_mode: ExecutionMode = Field(
        default="thread", description="thread: Python inside the TaskManager's JVM; process: a process beside it"
    )
    crossing: Crossing = Field(
        default="auto", description="how records reach Python (ADR 27); auto: batched if it can run, else single"
    )
    batch_delay_ms: int = Field(default=5, ge=1, le=1_000, description="longest wait of a record for its batch, in ms")
    start_from: StartFrom = Field(
        default="committed",
        description="start offset of a job without a savepoint; committed: where the last job stopped, else earliest",
    )
    checkpoint_interval_ms: int = Field(
        default=5_000,
        ge=100,
        description="time between checkpoints; also the delay until exactly_once results can be read",
    )
    checkpoint_timeout_ms: int = Field(
        default=120_000, ge=1_000, description="a checkpoint that takes longer is aborted; the job continues"
    )
    transaction_timeout_ms: int = Field(
        default=600_000,
        ge=10_000,
        description="Kafka aborts a transaction that is not committed in this time; must exceed checkpoint plus "
        "restart time, and must not exceed the broker's transaction.max.timeout.ms",
    )
    state_ttl_days: int = Field(
        default=180, ge=1, description="state of a customer without transactions for this time is deleted"
    )
    state_cache_customers: int = Field(
        default=10_000,
        ge=0,
        description="number of customers per subtask whose decoded state stays in memory, about 3 kB each; 0: none",
    )
    duplicate_days: int = Field(
        default=7,
        ge=1,
        le=90,
        description="a transaction id is remembered while the customer's newest event time is at most this much later",
    )
    duplicate_transactions: int = Field(
        default=5_000, ge=32, le=50_000, description="transaction ids remembered per customer, 8 bytes of state each"
    )
    replay_limit: int = Field(
        default=3,
        ge=1,
        description="a dead letter is parked after this many replays without success: see docs/operate.md",
    )
    idle_timeout_ms: int = Field(
        default=30_000,
        ge=100,
        description="a partition without records for this time no longer holds back the watermark",
    )

    @model_validator(mode="after")
    def _security_is_complete(self) -> Self:
        """Check that TLS has its files: an incomplete configuration would end in a timeout elsewhere."""
        if self.kafka_security_protocol == "SASL_SSL" and not (self.kafka_ca_file and self.kafka_secrets_dir):
            raise ValueError(
                "STREAMFLOW_KAFKA_SECURITY_PROTOCOL=SASL_SSL needs "
                "STREAMFLOW_KAFKA_CA_FILE and STREAMFLOW_KAFKA_SECRETS_DIR"
            )
        if self.postgres_ssl_mode == "verify-full" and not self.postgres_ca_file:
            raise ValueError("STREAMFLOW_POSTGRES_SSL_MODE=verify-full needs STREAMFLOW_POSTGRES_CA_FILE")
        return self

    @model_validator(mode="after")
    def _state_outlives_duplicates(self) -> Self:
        """Check that the state, which holds the ids, is kept as long as the ids."""
        if self.duplicate_days > self.state_ttl_days:
            raise ValueError("STREAMFLOW_DUPLICATE_DAYS must be at most STREAMFLOW_STATE_TTL_DAYS")
        return self

    def broker(self, role: KafkaRole = "tools") -> Broker:
        """Return the Kafka connection of a part of StreamFlow; the command line is ``tools``."""
        if self.kafka_security_protocol == "PLAINTEXT" or self.kafka_secrets_dir is None:
            return Broker(self.kafka_bootstrap_servers)
        user = self.kafka_user or kafka_account(role)
        return Broker(self.kafka_bootstrap_servers, self.kafka_ca_file, user, self.kafka_secrets_dir / user)

    @property
    def postgres_ssl(self) -> dict[str, str]:
        """The TLS settings under libpq's names."""
        authority = {"sslrootcert": str(self.postgres_ca_file)} if self.postgres_ca_file else {}
        return {"sslmode": self.postgres_ssl_mode, **authority}

    @property
    def postgres_dsn(self) -> str:
        """The libpq connection string of the owner. It holds the password: never log it."""
        return self._dsn(self.postgres_user, self.postgres_password)

    def postgres_login(self, role: DatabaseRole) -> tuple[str, SecretStr]:
        """Return user and password of a role; those of the owner if the role has no password."""
        user: str = getattr(self, f"postgres_{role}_user")
        password: SecretStr | None = getattr(self, f"postgres_{role}_password")
        return (self.postgres_user, self.postgres_password) if password is None else (user, password)

    def postgres_dsn_as(self, role: DatabaseRole) -> str:
        """Return the libpq connection string of a role. It holds the password: never log it."""
        return self._dsn(*self.postgres_login(role))

    def _dsn(self, user: str, password: SecretStr) -> str:
        place = {"host": self.postgres_host, "port": str(self.postgres_port), "dbname": self.postgres_database}
        login = {"user": user, "password": password.get_secret_value()}
        return connection_string({**place, **login, **self.postgres_ssl})

    def masked(self) -> dict[str, str]:
        """Return every setting by its environment variable, with secrets masked; jobs log this at start."""
        return {f"{ENV_PREFIX}{name.upper()}": str(getattr(self, name)) for name in type(self).model_fields}


def kafka_account(role: KafkaRole) -> str:
    """Return the name of a part's Kafka account.

    >>> kafka_account("detect")
    'streamflow-detect'
    """
    return f"streamflow-{role}"


def stack_home() -> Path:
    """Return the folder of the local stack: ``STREAMFLOW_HOME``, or ``.streamflow`` in the repository."""
    return Path(os.environ.get("STREAMFLOW_HOME") or REPO_ROOT / ".streamflow").resolve()


def load_settings(home: Path | None = None, kind: type[Settings] = Settings) -> Settings:
    """Return the settings from the environment and, with lower precedence, from the local stack's ``stack.env``.

    Raises:
        UserError: a required variable is missing or a value is out of range; the message names each. Or the file was
            written for a stack in another folder.
    """
    env_file = (home or stack_home()) / STACK_ENV_FILE
    try:
        _require_own_file(env_file)
        # The fields come from the environment, or from files with their names in a folder (mounted secrets).
        return kind(_env_file=env_file, _secrets_dir=os.environ.get(SECRETS_DIR))  # type: ignore[call-arg]
    except ValidationError as error:
        problems = _explain(error)
        fix = f"run `streamflow up`, or set them in the environment ({env_file} is read too)"
        raise UserError(problems, fix, ErrorCode.SETTINGS_INVALID) from None
    except PermissionError:
        raise UserError(f"cannot read {env_file}", "run as the user who ran `streamflow up`") from None


def _require_own_file(env_file: Path) -> None:
    """Refuse a ``stack.env`` that was copied or moved with its folder: it names the original's ports and folders."""
    lines = env_file.read_text(encoding="utf-8").splitlines() if env_file.exists() else []
    written = next((line.partition("=")[2].strip("'") for line in lines if line.startswith(f"{STACK_HOME}=")), None)
    if written is None or Path(written) == env_file.parent:
        return
    original = Path(written) / STACK_ENV_FILE
    if original.exists() and original.samefile(env_file):
        return  # one folder under two names
    raise UserError(
        f"{env_file} was written for the stack in {written}: its folder was moved or copied",
        "run `streamflow up`, which writes it anew",
        ErrorCode.SETTINGS_INVALID,
    )


def _explain(error: ValidationError) -> str:
    named = [(ENV_PREFIX + "_".join(map(str, item["loc"])).upper(), item) for item in error.errors()]
    missing = ", ".join(name for name, item in named if item["type"] == "missing")
    wrong = [f"{name}: {item['msg']}" for name, item in named if item["type"] != "missing" and item["loc"]]
    wrong += [str(item["ctx"]["error"]) for _, item in named if not item["loc"]]
    return "; ".join([f"not set: {missing}", *wrong] if missing else wrong)
