"""Writes files that another process never sees half written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MODE: Final = 0o644


def write_whole(path: Path, write: Callable[[Path], object], *, replaces: bool) -> None:
    """Write a file under another name, and give it its own when it is complete and on the disk.

    Args:
        path: the file.
        write: writes the content to a path, which exists and is empty.
        replaces: whether the file may exist.

    Raises:
        FileExistsError: the file exists, also if another process has written it in the meantime.
        OSError: the folder cannot be written.
    """
    number, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".part", dir=path.parent)
    unfinished = Path(name)
    try:
        write(unfinished)
        os.fsync(number)
        unfinished.chmod(MODE)  # others, such as a job of another user, cannot read the mode 0600 of mkstemp
        if replaces:
            unfinished.replace(path)
        else:
            _named(unfinished, path)
    finally:
        os.close(number)
        unfinished.unlink(missing_ok=True)


def _named(unfinished: Path, path: Path) -> None:
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        unfinished.replace(path)
