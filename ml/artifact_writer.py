"""Publishes a model artifact: completely or not at all, never over another version, and only after reading it back."""

from __future__ import annotations

import os
import shutil
import tempfile
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.models.artifact import read_artifact
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.manifest import ARRAYS_FILE, CURRENT_FILE, MANIFEST_FILE, is_model_version
from flink_jobs.core.models.model import load_model
from flink_jobs.errors import UserError
from ml.whole_files import write_whole

if TYPE_CHECKING:
    from flink_jobs.core.models.artifact import ModelArrays
    from flink_jobs.core.models.manifest import ModelManifest


def write_artifact(model_dir: Path, manifest: ModelManifest, arrays: ModelArrays) -> Path:
    """Write one version to a temporary folder, read it back as the stream does, and then give it its name.

    A version never changes. The same content again is no error and keeps the first artifact.

    Returns:
        ``<model_dir>/<version>``.

    Raises:
        UserError: the name is not a valid version, or another model has this version.
        ModelError: the stream cannot serve the artifact; it is not published.
    """
    if not is_model_version(manifest.version):
        what = f"{manifest.version!r} is not a valid model version"
        raise UserError(what, "use 1 to 64 letters, digits, dots, dashes and underscores")
    target = model_dir / manifest.version
    if target.exists():
        return _existing(target, manifest, arrays)
    model_dir.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=model_dir))
    try:
        draft = staging / manifest.version
        draft.mkdir()
        _write(draft / ARRAYS_FILE, arrays)
        _write(draft / MANIFEST_FILE, manifest.to_json())
        _sync_directory(draft)
        load_model(draft, manifest.feature_names)
        try:
            draft.rename(target)
        except OSError:
            if not target.exists():
                raise
            return _existing(target, manifest, arrays)  # another process published this version in the meantime
        _sync_directory(model_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def set_current(model_dir: Path, version: str) -> None:
    """Set ``current`` to a published version, atomically."""
    if not (model_dir / version / MANIFEST_FILE).is_file():
        what = f"there is no model {version!r} in {model_dir}"
        raise UserError(what, "train it, or choose a version in this folder")
    write_whole(model_dir / CURRENT_FILE, methodcaller("write_bytes", f"{version}\n".encode()), replaces=True)
    _sync_directory(model_dir)


def _existing(target: Path, manifest: ModelManifest, arrays: ModelArrays) -> Path:
    try:
        description, published = read_artifact(target)
    except ModelError as error:
        what = f"{target} exists and is not a readable model ({error.detail})"
        raise UserError(what, "remove it or choose another --version") from error
    if published.digest() != arrays.digest() or (description.blend, description.calibration) != (
        manifest.blend,
        manifest.calibration,
    ):
        what = f"{target} holds another model, and a version never changes"
        raise UserError(what, "choose another --version")
    return target


def _write(path: Path, content: ModelArrays | bytes) -> None:
    with path.open("xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            np.savez(file, **content.named())
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
