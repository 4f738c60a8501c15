"""Publishes model artifacts to a store, and fetches them on the machines that serve them.

A published version never changes: the store refuses other files under the same version. The store checks nothing else;
``core.models.artifact`` checks the digests when an artifact is loaded.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from flink_jobs.core.models.artifact import ARTIFACT_FILES, read_bounded
from flink_jobs.core.models.faults import ModelError, ModelFault


class ArtifactStore(Protocol):
    """A store of the files of model versions."""

    def publish(self, directory: Path) -> str:
        """Publish a version, named like its directory, and return its URI.

        Raises:
            ModelError: the version cannot be read or written, or the store holds other files under this version.
        """

    def read(self, version: str, file: str) -> bytes:
        """Return a file of a version, up to the size that ``ARTIFACT_FILES`` allows.

        Raises:
            ModelError: ``MISSING``, ``UNREADABLE`` or ``TOO_LARGE``.
        """


class DirectoryStore:
    """A store in a folder, local or shared by several machines, with one folder per version."""

    def __init__(self, root: Path) -> None:
        """Use a folder; the first ``publish`` creates it."""
        self._root = root

    def publish(self, directory: Path) -> str:
        """Copy a version; see ``ArtifactStore``."""
        target = self._root / directory.name
        if target.resolve() != directory.resolve():
            put(target, {file: read_bounded(directory / file, limit) for file, limit in ARTIFACT_FILES.items()})
        return target.resolve().as_uri()

    def read(self, version: str, file: str) -> bytes:
        """Return a file of a version; see ``ArtifactStore``."""
        return read_bounded(self._root / version / file, ARTIFACT_FILES[file])


@contextmanager
def open_store(place: str) -> Iterator[ArtifactStore]:
    """Open the store at a folder or an ``s3://bucket/prefix``; leaving the context closes its connections."""
    if place.startswith("s3://"):
        from flink_jobs.artifacts.s3 import S3Store  # noqa: PLC0415 - boto3 takes 30 MB: imported only when used

        with closing(S3Store(place)) as store:
            yield store
    else:
        yield DirectoryStore(Path(place.removeprefix("file://")))


def fetch(store: ArtifactStore, version: str, model_dir: Path) -> Path:
    """Copy a version from the store into the local model folder and return its directory.

    Raises:
        ModelError: the store does not hold the version or does not answer, or the folder cannot be written.
    """
    target = model_dir / version
    put(target, {file: store.read(version, file) for file in ARTIFACT_FILES})
    return target


def put(target: Path, content: dict[str, bytes]) -> None:
    """Write all files of a version or none; another process can do the same concurrently.

    Raises:
        ModelError: the folder cannot be written, or the version exists with other content.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".publishing-", dir=target.parent))
        try:
            staged.chmod(0o755)
            for file, data in content.items():
                (staged / file).write_bytes(data)
            if not target.exists():
                os.rename(staged, target)  # noqa: PTH104 - fails if the target is a folder with content
        except OSError:
            if not target.is_dir():  # else another process was faster; its files are compared below
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise ModelError(ModelFault.UNREADABLE, f"{target} cannot be written ({error.strerror})") from error
    if any(read_bounded(target / file, ARTIFACT_FILES[file]) != data for file, data in content.items()):
        raise ModelError(ModelFault.DIGEST_MISMATCH, f"{target} holds another model; a published version never changes")
