"""Runs pg_dump and pg_restore, whose data is streamed to and from a store of backups."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import IO, Any

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse.backup_store import BackupStore


class _Counted:
    """A readable stream that counts its bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data


def dump_to(settings: Settings, snapshot: str, store: BackupStore, file: str) -> int:
    """Write a dump of an exported snapshot to the store; return its size in bytes.

    Raises:
        UserError: pg_dump is not installed, is older than the server, or failed. The unfinished file is deleted.
    """
    command = [_program("pg_dump"), "--format=custom", f"--snapshot={snapshot}"]
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, env=_login(settings), stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None  # noqa: S101 - asked for above
            counted: Any = _Counted(process.stdout)
            try:
                store.write(file, counted)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            store.delete(file)
            raise _failed("pg_dump", errors, process.returncode)
    size: int = counted.size
    return size


def restore_from(settings: Settings, store: BackupStore, file: str, *options: str) -> None:
    """Restore a file of the store into the database of the settings, which must be empty and must have the roles.

    Raises:
        UserError: pg_restore is not installed or failed; the database stays empty.
    """
    command = [_program("pg_restore"), "--exit-on-error", "--single-transaction", *options]
    command.append(f"--dbname={settings.postgres_database}")
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, env=_login(settings), stdin=subprocess.PIPE, stderr=errors) as process:
            assert process.stdin is not None  # noqa: S101 - asked for above
            try:
                store.read(file, process.stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass  # pg_restore has ended; its own message is reported below
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise _failed("pg_restore", errors, process.returncode)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise UserError(f"{name} is not on PATH", "install the PostgreSQL client of the server's version")
    return path


def _login(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "PGHOST": settings.postgres_host, "PGPORT": str(settings.postgres_port), "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.postgres_password.get_secret_value(), "PGDATABASE": settings.postgres_database,
        **{f"PG{name.upper()}": value for name, value in settings.postgres_ssl.items()},
    }  # fmt: skip


def _failed(program: str, errors: IO[bytes], code: int) -> UserError:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    last = next(iter(lines[-1:]), f"exit code {code}")
    return UserError(f"{program} failed: {last}", f"check that {program} is not older than the server")
