"""The registry's tables in Postgres (schema ``ml``): versions with their stage, and an append-only history."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.model_registry.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.core.models.manifest import ModelManifest

_LOCK: Final = 0x5F20
"""One promotion at a time: two would race for the job."""
_COLUMNS: Final = "version, kind, digest, artifact_uri, manifest, metrics, stage, created_at, registered_at"


@dataclass(frozen=True, slots=True)
class Registered:
    """A row of ``ml.model_versions``."""

    version: str
    kind: str
    digest: str
    artifact_uri: str
    manifest: dict[str, Any]
    metrics: dict[str, float]
    stage: str
    created_at: datetime
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class Why:
    """Who answers for a step, and the reason given."""

    actor: str
    reason: str


class Registry:
    """Reads and writes the tables inside one open connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use a connection in autocommit mode."""
        self._connection = connection

    def add(self, manifest: ModelManifest, document: dict[str, Any], uri: str, why: Why) -> bool:
        """Register a version as a candidate; False when the same one is registered already.

        Raises:
            UserError: another model is registered under this version.
        """
        present = self.find(manifest.version)
        if present is not None:
            if present.digest != manifest.arrays_sha256:
                raise UserError(f"another model is registered as {manifest.version}", "train it under another version")
            return False
        with self._connection.transaction():
            self._connection.execute(
                "INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    manifest.version, manifest.kind, manifest.arrays_sha256, uri, Jsonb(document),
                    Jsonb(manifest.metrics), manifest.created_at,
                ),
            )  # fmt: skip
            self.note(manifest.version, "registered", why, to_stage=Stage.CANDIDATE)
        return True

    def find(self, version: str) -> Registered | None:
        """Return a version, ``None`` when it is not registered."""
        query = f"SELECT {_COLUMNS} FROM ml.model_versions WHERE version = %s"  # noqa: S608 - our own words
        with self._connection.cursor(row_factory=class_row(Registered)) as cursor:
            return cursor.execute(query, (version,)).fetchone()

    def get(self, version: str) -> Registered:
        """Return a version.

        Raises:
            UserError: it is not registered.
        """
        found = self.find(version)
        if found is None:
            raise UserError(
                f"model {version} is not registered", "see `streamflow model list`, or `streamflow model register`"
            )
        return found

    def at(self, stage: Stage) -> Registered | None:
        """Return the version at a stage that has one at most."""
        return next((item for item in self.all() if item.stage == stage), None)

    def all(self) -> list[Registered]:
        """Return every version, the latest registered first."""
        query = f"SELECT {_COLUMNS} FROM ml.model_versions ORDER BY registered_at DESC, version"  # noqa: S608
        with self._connection.cursor(row_factory=class_row(Registered)) as cursor:
            return cursor.execute(query).fetchall()

    def previous_champion(self) -> Registered | None:
        """Return the version that was champion before the present one, by the history."""
        rows = self._connection.execute(
            "SELECT version FROM ml.model_events WHERE event = 'stage_changed' AND to_stage = 'champion' "
            "ORDER BY event_id DESC"
        ).fetchall()
        present = self.at(Stage.CHAMPION)
        for (version,) in rows:
            if present is None or version != present.version:
                return self.get(version)
        return None

    def move(self, version: str, to: Stage, why: Why, control_id: str | None) -> None:
        """Put a version at a stage, and whoever stood there where it goes: old champions into the archive."""
        with self._connection.transaction():
            if to in {Stage.CHAMPION, Stage.SHADOW}:
                displaced = self.at(to)
                if displaced is not None and displaced.version != version:
                    away = Stage.ARCHIVED if to is Stage.CHAMPION else Stage.CANDIDATE
                    self._set(displaced, away, Why(why.actor, f"{version} takes its place: {why.reason}"), control_id)
            self._set(self.get(version), to, why, control_id)

    def _set(self, item: Registered, to: Stage, why: Why, control_id: str | None) -> None:
        self._connection.execute("UPDATE ml.model_versions SET stage = %s WHERE version = %s", (to, item.version))
        self.note(item.version, "stage_changed", why, from_stage=item.stage, to_stage=to, control_id=control_id)

    def note(
        self,
        version: str,
        event: str,
        why: Why,
        *,
        from_stage: str | None = None,
        to_stage: str | None = None,
        details: dict[str, Any] | None = None,
        control_id: str | None = None,
    ) -> None:
        """Append to the history."""
        self._connection.execute(
            "INSERT INTO ml.model_events (version, event, from_stage, to_stage, actor, reason, details, control_id) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (version, event, from_stage, to_stage, why.actor, why.reason, Jsonb(details or {}), control_id),
        )

    def history(self, version: str | None = None) -> list[dict[str, Any]]:
        """Return what happened, oldest first, to one version or to all."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                "SELECT happened_at, version, event, from_stage, to_stage, actor, reason, details, control_id "
                "FROM ml.model_events WHERE %(version)s::text IS NULL OR version = %(version)s ORDER BY event_id",
                {"version": version},
            ).fetchall()


@contextmanager
def open_registry(dsn: str, *, alone: bool = False) -> Iterator[Registry]:
    """Connect to the registry; ``alone`` lets nobody else promote meanwhile.

    Raises:
        UserError: no database, no tables, or somebody else is promoting.
    """
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            if alone:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
                if row is None or not row[0]:
                    raise UserError("somebody else is promoting a model", "wait until they are done")
            yield Registry(connection)
    except psycopg.OperationalError as error:
        what = f"Postgres does not answer ({str(error).strip().splitlines()[0]})"
        raise UserError(what, "run `streamflow up`", ErrorCode.POSTGRES_UNREACHABLE) from None
    except psycopg.errors.UndefinedTable:
        raise UserError(
            "the database has no registry yet", "run `streamflow up`: it brings the tables up to date"
        ) from None
