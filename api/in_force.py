"""The configuration in force and its model, for scores and fallbacks that the API computes itself.

The job's configuration reaches Postgres with the audit records. The API reads it every few seconds and keeps the last
one while Postgres does not answer. It reads the modules of own features once, at its start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from api.background import repeat
from api.database import Connection, Database
from api.errors import ApiError
from api.histories import Histories
from flink_jobs.artifacts.finder import find_model
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import AuditDocument
from flink_jobs.core.models.model import ModelError, TreeModel, model_directory
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.kafka.control_client import config_of
from flink_jobs.settings import Settings

_AUDIT: Final = """
    SELECT control_id, revision, outcome, issued_by, issued_at_ms, reason, changes FROM ops.control_audit
    WHERE outcome = 'applied' ORDER BY applied_at_ms, revision
"""
_LOG: Final = logging.getLogger(__name__)
NOT_READ: Final = "not_read"
"""Why there is no model before Postgres was read for the first time."""


class InForce(NamedTuple):
    """A configuration and the champion for it; rules score alone without a model.

    Attributes:
        config: the configuration.
        model: the champion; ``None`` if it cannot be loaded.
        own: the own features of the API, which ``model`` reads; one transaction is scored at a time.
        histories: the histories of merchants and other entities, which ``model`` reads.
        problem: why there is no model: a ``ModelFault``, or ``NOT_READ``; ``None`` with a model.
    """

    config: DetectionConfig
    model: TreeModel | None
    own: OwnValues | None = None
    problem: str | None = None
    histories: Histories | None = None


Finder = Callable[[Settings, DetectionConfig, OwnValues | None, Histories | None], TreeModel]


def champion(
    settings: Settings, config: DetectionConfig, own: OwnValues | None, histories: Histories | None = None
) -> TreeModel:
    """Return the champion of a configuration.

    Raises:
        ModelError: it cannot be loaded.
    """
    version = config.model_version or settings.model_version or model_directory(settings.model_dir).name
    found = find_model(
        str(settings.model_dir), settings.artifact_store, version, config.model_digest, histories, own=own
    )
    return cast("TreeModel", found)


async def config_in_force(connection: Connection) -> DetectionConfig:
    """Return the configuration in force according to the archived control audit."""
    rows = await (await connection.execute(_AUDIT)).fetchall()
    return config_of(cast("list[AuditDocument]", rows))


class Watch:
    """Keeps the configuration in force up to date."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        every_s: float,
        find: Finder = champion,
        own: OwnValues | None = None,
        histories: Histories | None = None,
    ) -> None:
        """Start with the defaults of a job; ``run`` reads the rest.

        Args:
            database: holds the control audit.
            settings: where models are.
            every_s: time between two readings, seconds.
            find: loads the champion.
            own: the own features of the installation.
            histories: the histories that models may read; ``None`` refuses a model that needs one.
        """
        self._database = database
        self._settings = settings
        self._every_s = every_s
        self._find = find
        self.now = InForce(DetectionConfig(), None, own, NOT_READ, histories)
        self.is_read = False

    async def run(self) -> None:
        """Read the configuration again and again, until cancelled."""
        await repeat(self.refresh, self._every_s, _LOG, "the configuration was not read; the last one stays in use")

    async def refresh(self) -> None:
        """Read the configuration once; keep the last one if the database does not answer."""
        try:
            rows = await self._database.rows(_AUDIT, {})
        except ApiError:
            return
        config = config_of(cast("list[AuditDocument]", rows))
        # Loading takes up to a second and may download: requests go on meanwhile.
        now = self.now
        if not self.is_read or now.model is None or config.model_version != now.config.model_version:
            now = await asyncio.to_thread(self._load, config)
        self.now = now._replace(config=config)
        self.is_read = True

    def _load(self, config: DetectionConfig) -> InForce:
        """Return a configuration with its champion; a new problem is logged."""
        own, histories, known = self.now.own, self.now.histories, self.now.problem
        try:
            return InForce(config, self._find(self._settings, config, own, histories), own, None, histories)
        except ModelError as error:
            if error.reason.value != known:
                _LOG.warning("POST /v1/score uses rules alone: the champion cannot be loaded: %s", error)
            return InForce(config, None, own, error.reason.value, histories)
