"""The settings of the schema registry. ``Settings`` inherits them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from flink_jobs.kafka.registry_access import RegistryAccess


class SchemaRegistrySettings(BaseSettings):
    """Where the detector finds the schemas of Avro records."""

    schema_registry: str | None = Field(
        default=None,
        pattern=r"^(https?://[^@\s]+|/.*)$",
        description="URL of a schema registry with Confluent's API, or a folder with files such as 7.avsc, named by "
        "schema id; default: none, so every Avro record becomes a dead letter UNKNOWN_SCHEMA (docs/schemas.md)",
    )
    schema_registry_login_file: Path | None = Field(
        default=None,
        description="file with `user:password` for the registry (BASIC authentication); the same path on every "
        "TaskManager",
    )
    schema_registry_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signs the registry's certificate"
    )

    def registry(self) -> RegistryAccess | None:
        """Return how to reach the registry, ``None`` without one."""
        if self.schema_registry is None:
            return None
        login, authority = self.schema_registry_login_file, self.schema_registry_ca_file
        return RegistryAccess(
            self.schema_registry, None if login is None else str(login), None if authority is None else str(authority)
        )
