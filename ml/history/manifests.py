"""Finds the manifest of a model: in the model folder, or else in the table of the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from flink_jobs.core.models.artifact import MAX_MANIFEST_BYTES, model_directory, read_bounded
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.manifest import MANIFEST_FILE, parse_manifest
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from flink_jobs.core.models.manifest import ModelManifest
    from ml.history.connection import Connection

_REGISTERED: Final = "SELECT manifest FROM ml.model_versions WHERE version = %s"


def find_manifest(connection: Connection, model_dir: Path, version: str) -> ModelManifest:
    """Return the manifest of a version.

    Raises:
        UserError: the folder and the registry lack the version, or its manifest cannot be read.
    """
    try:
        try:
            directory = model_directory(model_dir, version)
            return parse_manifest(read_bounded(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES))
        except ModelError as error:
            row = connection.execute(_REGISTERED, (version,)).fetchone()
            if row is None or error.reason is not ModelFault.MISSING:
                raise
            return parse_manifest(orjson.dumps(row["manifest"]))
    except ModelError as error:
        fix = "set the folder of the models with --models, or register the version"
        raise UserError(f"the manifest of model {version} cannot be read ({error.detail})", fix) from error
