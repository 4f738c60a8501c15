"""Read folders that another process changes meanwhile: checkpoints, savepoints, files of RocksDB, the lake.

A file may be gone between its listing and the next call. ``Path.glob`` and ``Path.rglob`` of Python 3.11 and 3.12 raise
an error for a folder that goes while they list. The functions here leave out what is gone, and only that.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GONE = (FileNotFoundError, NotADirectoryError)


def paths_in(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder that match a pattern such as ``*/chk-*``, sorted; none if the folder is gone.

    Args:
        folder: the folder.
        pattern: pattern of the standard library's ``glob``, without ``**``; ``*`` also matches hidden names.
    """
    return [folder / name for name in sorted(glob(pattern, root_dir=folder, include_hidden=True))]  # noqa: PTH207 - see above


def statuses(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each path that still exists, with its status.

    Raises:
        OSError: a path exists, and its status cannot be read.
    """
    for path in paths:
        with suppress(*_GONE):
            yield path, path.stat()


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each file in a folder and in the folders below it, with its status.

    Raises:
        OSError: a folder exists and cannot be read.
    """
    for parent, _, names in os.walk(folder, onerror=_raise_unless_gone):
        yield from statuses(Path(parent, name) for name in names)


def size_below(folder: Path) -> int:
    """Return the bytes of all files in a folder and in the folders below it; 0 if it is gone.

    Raises:
        OSError: a folder exists and cannot be read.
    """
    return sum(status.st_size for _, status in files_below(folder))


def delete_below(folder: Path) -> None:
    """Delete a folder with all that it holds; another process may delete in it at the same time.

    Raises:
        OSError: something in it cannot be deleted.
    """
    while folder.exists():
        with suppress(*_GONE):
            shutil.rmtree(folder)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, _GONE):
        raise error
