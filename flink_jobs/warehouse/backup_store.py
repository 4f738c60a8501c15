"""Where backups are kept: a folder, or a bucket of any service with an S3 interface.

boto3 reads endpoint, region and credentials from its own variables: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
so on. Files are streamed, so neither store needs a disk for them on this machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from flink_jobs.settings import Settings

# Two parts of 64 MiB are in memory at a time. S3 admits 10,000 parts, so a file may have 640 GB.
_PART_BYTES: Final = 64 * 1024 * 1024
_PARTS_AT_ONCE: Final = 2


class BackupStore(Protocol):
    """A flat set of files."""

    place: str

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def write(self, name: str, content: IO[bytes]) -> None:
        """Write a file from a stream."""

    def read(self, name: str, to: IO[bytes]) -> None:
        """Copy a file to a stream.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def delete(self, name: str) -> None:
        """Delete a file; a missing file is no error."""


class FolderStore:
    """Backups in a folder."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is created if it is missing."""
        self.place = str(folder)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """Return the names of all files; see ``BackupStore``."""
        return sorted(path.name for path in self._folder.iterdir() if path.suffix != ".unfinished")

    def write(self, name: str, content: IO[bytes]) -> None:
        """Write a file under another name and rename it when it is complete; see ``BackupStore``."""
        unfinished = self._folder / f"{name}.unfinished"
        try:
            with unfinished.open("wb") as file:
                shutil.copyfileobj(content, file)
            unfinished.rename(self._folder / name)
        finally:
            unfinished.unlink(missing_ok=True)

    def read(self, name: str, to: IO[bytes]) -> None:
        """Copy a file to a stream; see ``BackupStore``."""
        with (self._folder / name).open("rb") as file:
            shutil.copyfileobj(file, to)

    def delete(self, name: str) -> None:
        """Delete a file; see ``BackupStore``."""
        (self._folder / name).unlink(missing_ok=True)


class S3BackupStore:
    """Backups as objects ``<prefix>/<file>`` in a bucket."""

    def __init__(self, uri: str) -> None:
        """Use ``s3://bucket`` or ``s3://bucket/prefix``; this sends no request."""
        import boto3  # noqa: PLC0415 - Airflow's environment reads this module and has no boto3
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

        self.place = uri.rstrip("/")
        self._bucket, _, prefix = self.place.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = boto3.client("s3")
        self._transfer = TransferConfig(
            multipart_chunksize=_PART_BYTES, multipart_threshold=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def names(self) -> list[str]:
        """Return the names of all objects; see ``BackupStore``."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        return sorted(item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ()))

    def write(self, name: str, content: IO[bytes]) -> None:
        """Upload an object in parts; S3 shows it only when all parts are there; see ``BackupStore``."""
        self._client.upload_fileobj(content, self._bucket, self._prefix + name, Config=self._transfer)

    def read(self, name: str, to: IO[bytes]) -> None:
        """Copy an object to a stream; see ``BackupStore``."""
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
        except self._client.exceptions.NoSuchKey:
            raise FileNotFoundError(name) from None
        with closing(body):
            shutil.copyfileobj(body, to)

    def delete(self, name: str) -> None:
        """Delete an object; see ``BackupStore``."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


@contextmanager
def open_backup_store(settings: Settings) -> Iterator[BackupStore]:
    """Open the store of the settings for a ``with`` block.

    Raises:
        UserError: the bucket does not answer or refuses the request.
    """
    if settings.backup_store is None:
        yield FolderStore(settings.backup_dir)
        return
    from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415 - see above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    refused: Any = (BotoCoreError, ClientError, S3UploadFailedError)
    try:
        with closing(S3BackupStore(settings.backup_store)) as store:
            yield store
    except refused as error:
        raise UserError(
            f"{settings.backup_store} does not answer or refuses the request ({error})",
            "check the bucket, AWS_ENDPOINT_URL and the credentials of this process",
        ) from None
