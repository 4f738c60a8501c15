"""A folder of files that are named after a key and the digest of their own bytes.

A file gets its name when it is complete, and its bytes are compared with the name before they are used: an unfinished
or damaged file is never read.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DamagedCacheError(Exception):
    """A kept file cannot be used; the text says why."""


class Kept(NamedTuple):
    """An open file."""

    path: Path
    file: BinaryIO


class KeptFiles:
    """The files of one folder. They can hold ids of customers, so only their owner can read them."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, and create it if it does not exist.

        Raises:
            OSError: that is not possible.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    @contextmanager
    def opened(self, key: str) -> Iterator[Kept | None]:
        """Open the file of a key; None without one.

        The bytes are those that were compared with the name, also when another process replaces or deletes the file.

        Raises:
            DamagedCacheError: files exist, and none has the bytes that were written.
        """
        problem = ""
        for path in sorted(self._folder.glob(f"{key}-*.parquet")):
            try:
                file = path.open("rb")
            except FileNotFoundError:  # another process has replaced or deleted it since it was listed
                continue
            except OSError as error:
                problem = f"{path} cannot be read ({error.strerror})"
                continue
            with file:
                try:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    problem = f"{path} cannot be read ({error.strerror})"
                    continue
                if path.stem == f"{key}-{sha256}":
                    file.seek(0)
                    yield Kept(path, file)
                    return
                problem = f"{path} is damaged: the digest of its bytes is {sha256}"
        if problem:
            raise DamagedCacheError(problem)
        yield None

    def keep(self, key: str, write: Callable[[Path], object]) -> Path:
        """Keep a file, and remove other files of the key.

        Args:
            key: its key.
            write: writes the content to a path.

        Raises:
            OSError: the folder cannot be written.
        """
        number, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self._folder)  # mode 0600
        os.close(number)
        unfinished = Path(name)
        try:
            write(unfinished)
            path = self._folder / f"{key}-{_sha256(unfinished)}.parquet"
            for other in self._folder.glob(f"{key}-*.parquet"):
                other.unlink(missing_ok=True)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
