"""The settings of the database roles, one login for each part of StreamFlow. ``Settings`` inherits them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

DatabaseRole = Literal["writer", "transformer", "analyst", "api", "models", "backup"]
"""A database role; ``sql/migrations`` grants its rights."""


class DatabaseLogins(BaseSettings):
    """User and password of each database role. Without a password, a part logs in as ``postgres_user``."""

    postgres_writer_user: str = Field(default="streamflow_writer", description="database role of the archive job")
    postgres_writer_password: SecretStr | None = Field(
        default=None, description="default: the archive job logs in as `postgres_user`"
    )
    postgres_transformer_user: str = Field(
        default="streamflow_transformer", description="database role of dbt and Airflow"
    )
    postgres_transformer_password: SecretStr | None = None
    postgres_analyst_user: str = Field(
        default="streamflow_analyst", description="database role that reports use to read the gold layer"
    )
    postgres_analyst_password: SecretStr | None = None
    postgres_api_user: str = Field(default="streamflow_api", description="database role of the HTTP service")
    postgres_api_password: SecretStr | None = None
    postgres_models_user: str = Field(
        default="streamflow_models", description="database role of drift checks, training and the model registry"
    )
    postgres_models_password: SecretStr | None = None
    postgres_backup_user: str = Field(
        default="streamflow_backup",
        description="database role of backups: reads every table, restores into a new database",
    )
    postgres_backup_password: SecretStr | None = None
