"""The content of a card file and its mapping when a command begins, and whether it is still the same afterwards."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flink_jobs.cards.card_files import mapping_for
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class CardFileState:
    """Digests of a card file and of its mapping."""

    def __init__(self, path: Path, mapping: Path | None) -> None:
        """Read both.

        Args:
            path: the card file.
            mapping: its column mapping; None: the file beside it.

        Raises:
            UserError: there is no such file or mapping, or one of them cannot be read.
        """
        self.path = path
        """The card file."""
        self._files = (path, mapping_for(path, mapping).path)
        self._stamps = self._stamped()  # before the digests: a later change is found
        self.sha256, self.mapping_sha256 = self._digests()
        """SHA-256 of both, hex."""

    def check(self) -> None:
        """Check that nothing changed since the digests were taken.

        Raises:
            UserError: the rows that were read since then can be those of another content.
        """
        stamps = self._stamped()
        if stamps != self._stamps and self._digests() != (self.sha256, self.mapping_sha256):
            what = f"{self.path} or its mapping changed while it was read"
            raise UserError(what, "run the command again when no other program writes to them")
        self._stamps = stamps

    def _stamped(self) -> list[tuple[int, int, int]]:
        """Return what changes when the card file or its mapping is written."""
        with _readable(self.path):
            found = [path.stat() for path in self._files]
        return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]

    def _digests(self) -> tuple[str, str]:
        first, second = (_sha256(path) for path in self._files)
        return first, second


def _sha256(path: Path) -> str:
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.filename or path} cannot be read ({error.strerror or error})"
        raise UserError(what, "check that the file exists and that you can read it") from error
