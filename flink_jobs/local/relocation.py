"""A stack's folder that was moved or copied: whose processes its record names, and its database outside the folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flink_jobs.errors import UserError
from flink_jobs.local import postgres, toolchain
from flink_jobs.local.process import ProcessRecord, is_alive


def origin_of(path: Path, data: Mapping[str, Any]) -> str | None:
    """Return the folder that a record was written in, if the record is now in another folder.

    Args:
        path: the record's file, ``stack.json``.
        data: its content. Release 0.2 did not write ``home``; there the processes' logs show the folder.
    """
    written = data.get("home") or next((str(Path(item["log"]).parent.parent) for item in data["processes"]), None)
    if written is None or Path(written) == path.parent:
        return None
    try:
        is_same = (Path(written) / path.name).samefile(path)  # one folder under two names, such as a bind mount
    except OSError:
        is_same = False
    return None if is_same else str(written)


def require_copy_or_stopped(path: Path, origin: str, stack_id: str, processes: Mapping[str, ProcessRecord]) -> None:
    """Refuse a folder that was moved while its processes ran; the processes of a copied folder belong to the original.

    Raises:
        UserError: the original is gone, and its processes run.
    """
    if stack_id in _text(Path(origin) / path.name):
        return
    alive = [f"{name} (pid {item.pid})" for name, item in processes.items() if is_alive(item)]
    if alive:
        raise UserError(
            f"{path.parent} was moved from {origin} while its processes ran: {', '.join(alive)}",
            f"move it back to {origin}, run `streamflow down` there, and move it then",
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def adopt_database(folder: Path, origin: Path, *, is_copy: bool, say: Callable[[str], None]) -> None:
    """Make the database usable for a stack whose folder was moved or copied here.

    Args:
        folder: the stack's ``postgres`` folder.
        origin: the same folder of the stack that this one was moved or copied from.
        is_copy: whether the original is still there. Its database outside the folder stays its own.
        say: reports what happens.
    """
    user = toolchain.postgres_user()
    here, there = postgres.data_folder(folder, user), postgres.data_folder(origin, user)
    if not (here / "data").exists():
        candidate = next((item for item in (folder, there) if item != here and (item / "data").exists()), None)
        if candidate is not None and is_copy and candidate != folder:
            say(f"The database of the original stays at {candidate}; this copy begins with an empty database.")
        elif candidate is not None:
            say(f"Moving the database from {candidate} to {here}.")
            shutil.move(candidate, here)
    # It names the process of the original; Postgres would not start beside it.
    (here / "data" / "postmaster.pid").unlink(missing_ok=True)
