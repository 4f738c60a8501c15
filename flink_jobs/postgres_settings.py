"""The settings of commands that need Postgres and the model folder, but neither Kafka nor Flink."""

from __future__ import annotations

from flink_jobs.settings import Settings, load_settings


class PostgresSettings(Settings):
    """Settings without the addresses of Kafka and Flink, and without the folders of snapshots."""

    kafka_bootstrap_servers: str = ""
    flink_rest_url: str = ""
    checkpoint_dir: str = ""
    savepoint_dir: str = ""


def load_postgres_settings() -> Settings:
    """Return the settings like ``load_settings``; only those of Postgres are required.

    Raises:
        UserError: see ``load_settings``.
    """
    return load_settings(kind=PostgresSettings)
