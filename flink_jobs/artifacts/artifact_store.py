"""Publish a model artifact once, fetch it wherever it is served.

A published version never changes: publishing other arrays under its name is refused. The store trusts nothing and
checks nothing else; whoever loads an artifact holds it to its digests (``core.model_artifact``).
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
    """Keeps the files of model versions."""

    def publish(self, directory: Path) -> str:
        """Keep a version, named like its directory, and return its URI.

        Raises:
            ModelError: it cannot be read or written, or the store holds other files under this version.
        """

    def read(self, version: str, file: str) -> bytes:
        """Return a file of a version, at most as long as ``ARTIFACT_FILES`` allows.

        Raises:
            ModelError: `MISSING`, `UNREADABLE` or `TOO_LARGE`.
        """


class DirectoryStore:
    """A folder with one folder per version, on this machine or shared by several."""

    def __init__(self, root: Path) -> None:
        """Keep the place; it is made when something is published."""
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
    """Open the store at a folder or an ``s3://bucket/prefix``; leaving it closes its connections."""
    if place.startswith("s3://"):
        from flink_jobs.artifacts.s3 import S3Store  # noqa: PLC0415 - boto3 weighs 30 MB: only for those who use it

        with closing(S3Store(place)) as store:
            yield store
    else:
        yield DirectoryStore(Path(place.removeprefix("file://")))


def fetch(store: ArtifactStore, version: str, model_dir: Path) -> Path:
    """Copy a version from the store into the local folder of models and return its directory.

    Raises:
        ModelError: the store does not have it or does not answer, or the folder cannot be written.
    """
    target = model_dir / version
    put(target, {file: store.read(version, file) for file in ARTIFACT_FILES})
    return target


def put(target: Path, content: dict[str, bytes]) -> None:
    """Write the files of a version whole or not at all; another process may be doing the same.

    Raises:
        ModelError: the folder cannot be written, or holds other files.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".publishing-", dir=target.parent))
        try:
            staged.chmod(0o755)
            for file, data in content.items():
                (staged / file).write_bytes(data)
            if not target.exists():
                os.rename(staged, target)  # noqa: PTH104 - fails on a folder with content, where Path.replace would too
        except OSError:
            if not target.is_dir():  # else somebody was faster, and what is there is compared below
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise ModelError(ModelFault.UNREADABLE, f"{target} cannot be written ({error.strerror})") from error
    if any(read_bounded(target / file, ARTIFACT_FILES[file]) != data for file, data in content.items()):
        raise ModelError(ModelFault.DIGEST_MISMATCH, f"{target} holds another model; a version never changes")
