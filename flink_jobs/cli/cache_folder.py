"""The folder of ``--cache``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Cache = TypeVar("Cache")


def cache_in(folder: Path, cache: Callable[[Path], Cache]) -> Cache:
    """Return a cache in a folder, which is created if it does not exist.

    Args:
        folder: the folder.
        cache: makes the cache, or raises ``OSError``.

    Raises:
        UserError: the folder cannot be used.
    """
    try:
        return cache(folder)
    except OSError as error:
        what = f"the folder {folder} of --cache cannot be used ({error.strerror or error})"
        raise UserError(what, "choose a folder that you can write to, or leave --cache out") from error
