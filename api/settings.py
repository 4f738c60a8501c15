"""The settings of the API: ``STREAMFLOW_API_*`` variables, beside the settings that all parts share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import SECRETS_DIR, STACK_ENV_FILE, stack_home

PREFIX = "STREAMFLOW_API_"


class ApiSettings(BaseSettings):
    """Limits, deadlines and the policy of the API. ``docs/api.md`` has the table."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, validate_default=True)

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8088, ge=1, le=65535, description="port to listen on")
    pool_size: int = Field(default=10, ge=1, le=100, description="largest number of connections to Postgres")
    query_timeout_ms: int = Field(default=2_000, ge=10, description="longest time of one query")
    request_timeout_s: float = Field(default=10.0, gt=0, le=120, description="longest time of one request")
    largest_body_bytes: int = Field(default=1_048_576, ge=65_536, description="a larger request body is refused")
    rate_per_s: int = Field(
        default=100, ge=1, description="requests per second to each route of a key without a rate of its own"
    )
    address_rate_per_s: int | None = Field(
        default=None,
        ge=1,
        description="requests per second of one address, over all keys and routes below `/v1`; leave it out where "
        "callers share the address of a proxy; default: no limit",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis in which replicas count rates together, `redis://:password@host:port/0` or `rediss://...` "
        "for TLS; default: each process counts in its memory",
    )
    redis_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signs the certificate of Redis"
    )
    key_cache_s: float = Field(
        default=5.0, ge=0, description="a verified key is not read again for this time: the delay of a revocation"
    )
    key_grace_s: float = Field(
        default=600.0, ge=0, description="a key verified in this time stays valid while Postgres does not answer"
    )
    deadline_ms: int = Field(default=100, ge=1, description="wait for the job's decision without `deadline_ms`")
    largest_deadline_ms: int = Field(default=5_000, ge=1, description="largest `deadline_ms` of a request")
    acknowledge_ms: int = Field(
        default=2_000, ge=100, description="longest time until Kafka acknowledges a transaction; then the answer is 503"
    )
    reply_partition: int | None = Field(
        default=None, ge=0, description="partition of the replies topic that this replica reads; default: a random one"
    )
    answer_days: int = Field(default=7, ge=1, description="first answers are kept for this time")
    thresholds_on: Literal["score", "probability"] = Field(
        default="score",
        description="what the next two settings are compared with: the score, or the probability of fraud (the score "
        "where a decision has no probability)",
    )
    review_from: float = Field(default=0.4, ge=0, le=1, description="value from which the action is `review`")
    decline_from: float = Field(default=0.75, ge=0, le=1, description="value from which the action is `decline`")
    fallback_approve_below: float | None = Field(
        default=None,
        ge=0,
        description="without the job's decision, amounts below this (main currency unit) get `approve`; default: none",
    )
    fallback_action: Literal["approve", "review", "decline"] = Field(
        default="review", description="action without the job's decision, for a transaction that no list or rule names"
    )
    session_hours: int = Field(default=12, ge=1, le=168, description="a session of the console ends after this time")
    session_idle_minutes: int = Field(
        default=60, ge=1, description="a session of the console ends after this time without a request"
    )
    secure_cookie: bool = Field(
        default=True, description="`false`: browsers send the session over HTTP, too; the local stack sets it"
    )
    prometheus_url: str | None = Field(
        default=None, description="Prometheus that the console's health page asks; default: none"
    )
    refresh_s: float = Field(default=5.0, gt=0, description="time between two reads of the configuration in force")

    case_work: bool = Field(
        default=True,
        description="this process opens cases and sends labels, webhooks and approved changes of the rules, "
        "and runs jobs of the console; false: another process does",
    )
    model_work: bool = Field(
        default=True,
        description="this process starts `streamflow model carry-out` when a request about a model waits; false: "
        "another process runs it",
    )
    case_days: int = Field(default=30, ge=1, description="alerts that were loaded in this time become cases")
    case_every_s: float = Field(default=2.0, gt=0, description="time between two searches for new alerts")
    case_sla_minutes: int = Field(default=240, ge=1, description="time until a case is due")
    case_urgent_from: float = Field(
        default=1_000.0, ge=0, description="expected loss (main currency unit) from which a case is urgent"
    )
    case_urgent_sla_minutes: int = Field(default=30, ge=1, description="time until an urgent case is due")
    case_undo_s: float = Field(default=10.0, ge=0, le=3_600, description="time in which a verdict can be undone")

    @model_validator(mode="after")
    def _thresholds_ascend(self) -> Self:
        if self.review_from > self.decline_from:
            raise ValueError("STREAMFLOW_API_REVIEW_FROM must be at most STREAMFLOW_API_DECLINE_FROM")
        return self

    def masked(self) -> dict[str, str]:
        """Return every setting by its environment variable, with secrets masked."""
        return {f"{PREFIX}{name.upper()}": str(getattr(self, name)) for name in type(self).model_fields}


Group = TypeVar("Group", bound=BaseSettings)


def load_api_settings(home: Path | None = None) -> ApiSettings:
    """Return the API's settings from the environment and the local stack's ``stack.env``.

    Raises:
        UserError: a value is out of range; the message names the variable.
    """
    return load_group(ApiSettings, home)


def load_group(group: type[Group], home: Path | None = None) -> Group:
    """Return a group of settings from the environment, the files of secrets, and the local stack's ``stack.env``.

    Raises:
        UserError: a value is out of range; the message names the variable.
    """
    prefix = group.model_config["env_prefix"]
    try:
        return group(
            _env_file=(home or stack_home()) / STACK_ENV_FILE,
            _secrets_dir=os.environ.get(SECRETS_DIR),
        )
    except ValidationError as error:
        wrong = [
            f"{prefix}{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" if item["loc"] else item["msg"]
            for item in error.errors()
        ]
        raise UserError("; ".join(wrong), "correct the variables", ErrorCode.SETTINGS_INVALID) from None
    except SettingsError as error:
        raise UserError(f"{prefix}*: {error}", "lists and objects are JSON", ErrorCode.SETTINGS_INVALID) from None
