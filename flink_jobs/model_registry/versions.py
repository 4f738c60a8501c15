"""The registry tables in Postgres (schema ``ml``): model versions with their stage, and an append-only history."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.model_registry.stages import ModelStage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.core.models.manifest import ModelManifest
    from flink_jobs.core.models.manifest_document import ManifestDocument

_LOCK: Final = 0x5F20
"""Key of the Postgres advisory lock: two concurrent promotions would send conflicting changes to the job."""
_COLUMNS: Final = "version, kind, digest, artifact_uri, manifest, metrics, stage, created_at, registered_at"


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A row of ``ml.model_versions``; ``manifest`` is the document of the artifact's ``manifest.json``."""

    version: str
    kind: str
    digest: str
    artifact_uri: str
    manifest: ManifestDocument
    metrics: dict[str, float]
    stage: str
    created_at: datetime
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A row of ``ml.model_events``: one entry of the history.

    Attributes:
        happened_at: time of the event, UTC.
        version: the model version.
        event: such as ``registered``, ``gate_passed``, ``gate_refused``, ``stage_changed`` or ``job_refused``.
        from_stage: stage before a change of stage.
        to_stage: stage after a change of stage, or the stage asked for.
        actor: who caused the event.
        reason: the reason the actor gave.
        details: depends on ``event``; of a gate event: ``checks`` and ``refusals``.
        control_id: id of the control message to the job, ``None`` when none was sent.
    """

    happened_at: datetime
    version: str
    event: str
    from_stage: str | None
    to_stage: str | None
    actor: str
    reason: str
    details: dict[str, Any]
    control_id: str | None


@dataclass(frozen=True, slots=True)
class RecordedCard:
    """A row of ``ml.model_cards``; ``facts`` holds those of the governance file that are stated."""

    version: str
    card: str
    facts: dict[str, Any]
    recorded_by: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ChangeReason:
    """Who makes a change, and the reason given."""

    actor: str
    reason: str


class Registry:
    """Reads and writes the tables over one open connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """Use a connection; it must be in autocommit mode."""
        self._connection = connection

    def add(self, manifest: ModelManifest, document: ManifestDocument, uri: str, why: ChangeReason) -> bool:
        """Register a version as a candidate; return False when the same model is registered already.

        Raises:
            UserError: another model is registered under this version.
        """
        present = self.find(manifest.version)
        if present is not None:
            known = present.manifest
            is_same = all(known.get(name) == document.get(name) for name in ("blend", "calibration"))
            if present.digest != manifest.arrays_sha256 or not is_same:
                raise UserError(f"another model is registered as {manifest.version}", "train it under another version")
            return False
        with self._connection.transaction():
            added = self._connection.execute(
                "INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (version) DO NOTHING",
                (
                    manifest.version, manifest.kind, manifest.arrays_sha256, uri, Jsonb(document),
                    Jsonb(manifest.metrics), manifest.created_at,
                ),
            )  # fmt: skip
            if added.rowcount:
                self.note(manifest.version, "registered", why, to_stage=ModelStage.CANDIDATE)
        return True if added.rowcount else self.add(manifest, document, uri, why)  # another process was faster

    def find(self, version: str) -> RegisteredModel | None:
        """Return a version, ``None`` when it is not registered."""
        query = f"SELECT {_COLUMNS} FROM ml.model_versions WHERE version = %s"  # noqa: S608 - constant column names
        with self._connection.cursor(row_factory=class_row(RegisteredModel)) as cursor:
            return cursor.execute(query, (version,)).fetchone()

    def get(self, version: str) -> RegisteredModel:
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

    def at(self, stage: ModelStage) -> RegisteredModel | None:
        """Return the version at ``CHAMPION`` or ``SHADOW``, which hold at most one version each."""
        return next((item for item in self.all() if item.stage == stage), None)

    def all(self) -> list[RegisteredModel]:
        """Return every version, the latest registration first."""
        query = f"SELECT {_COLUMNS} FROM ml.model_versions ORDER BY registered_at DESC, version"  # noqa: S608
        with self._connection.cursor(row_factory=class_row(RegisteredModel)) as cursor:
            return cursor.execute(query).fetchall()

    def previous_champion(self) -> RegisteredModel | None:
        """Return the version that was champion before the present champion, according to the history."""
        rows = self._connection.execute(
            "SELECT version FROM ml.model_events WHERE event = 'stage_changed' AND to_stage = 'champion' "
            "ORDER BY event_id DESC"
        ).fetchall()
        present = self.at(ModelStage.CHAMPION)
        for (version,) in rows:
            if present is None or version != present.version:
                return self.get(version)
        return None

    def move(self, version: str, to: ModelStage, why: ChangeReason, control_id: str | None) -> None:
        """Move a version to a stage; a displaced champion is archived, a displaced shadow becomes a candidate."""
        with self._connection.transaction():
            if to in {ModelStage.CHAMPION, ModelStage.SHADOW}:
                displaced = self.at(to)
                if displaced is not None and displaced.version != version:
                    away = ModelStage.ARCHIVED if to is ModelStage.CHAMPION else ModelStage.CANDIDATE
                    self._set(
                        displaced, away, ChangeReason(why.actor, f"{version} takes its place: {why.reason}"), control_id
                    )
            self._set(self.get(version), to, why, control_id)

    def _set(self, item: RegisteredModel, to: ModelStage, why: ChangeReason, control_id: str | None) -> None:
        self._connection.execute("UPDATE ml.model_versions SET stage = %s WHERE version = %s", (to, item.version))
        self.note(item.version, "stage_changed", why, from_stage=item.stage, to_stage=to, control_id=control_id)

    def note(
        self,
        version: str,
        event: str,
        why: ChangeReason,
        *,
        from_stage: str | None = None,
        to_stage: str | None = None,
        details: dict[str, Any] | None = None,
        control_id: str | None = None,
    ) -> None:
        """Append an event to the history."""
        self._connection.execute(
            "INSERT INTO ml.model_events (version, event, from_stage, to_stage, actor, reason, details, control_id) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (version, event, from_stage, to_stage, why.actor, why.reason, Jsonb(details or {}), control_id),
        )

    def add_card(self, version: str, card: str, facts: dict[str, Any], why: ChangeReason) -> None:
        """Record a model card of a registered version; the newest counts."""
        self._connection.execute(
            "INSERT INTO ml.model_cards (version, card, facts, recorded_by, reason) VALUES (%s, %s, %s, %s, %s)",
            (version, card, Jsonb(facts), why.actor, why.reason),
        )

    def newest_card(self, version: str) -> RecordedCard | None:
        """Return the newest card of a version, ``None`` without any."""
        with self._connection.cursor(row_factory=class_row(RecordedCard)) as cursor:
            return cursor.execute(
                "SELECT version, card, facts, recorded_by, reason, recorded_at FROM ml.model_cards "
                "WHERE version = %s ORDER BY card_id DESC LIMIT 1",
                (version,),
            ).fetchone()

    def history(self, version: str | None = None) -> list[ModelEvent]:
        """Return the events of one version or of all, oldest first."""
        with self._connection.cursor(row_factory=class_row(ModelEvent)) as cursor:
            return cursor.execute(
                "SELECT happened_at, version, event, from_stage, to_stage, actor, reason, details, control_id "
                "FROM ml.model_events WHERE %(version)s::text IS NULL OR version = %(version)s ORDER BY event_id",
                {"version": version},
            ).fetchall()


@contextmanager
def open_registry(dsn: str, *, alone: bool = False) -> Iterator[Registry]:
    """Connect to the registry; ``alone`` holds the lock that keeps other promotions out.

    Raises:
        UserError: the database does not answer, the tables are missing, or another promotion holds the lock.
    """
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            if alone:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
                if row is None or not row[0]:
                    raise UserError("another promotion is running", "wait until it has ended, then try again")
            yield Registry(connection)
    except psycopg.OperationalError as error:
        what = f"Postgres does not answer ({str(error).strip().splitlines()[0]})"
        raise UserError(what, "run `streamflow up`", ErrorCode.POSTGRES_UNREACHABLE) from None
    except psycopg.errors.UndefinedTable:
        raise UserError(
            "the database has no model registry yet", "run `streamflow up`: it migrates the database"
        ) from None
