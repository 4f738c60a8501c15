"""The files of the lake, in a folder or in a bucket of any service with an S3 interface."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from flink_jobs.changing_folders import paths_in, statuses
from flink_jobs.errors import UserError
from flink_jobs.lake_settings import s3_endpoint
from flink_jobs.waiting import WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flink_jobs.settings import Settings

MERGED: Final = "part-merged-"
"""How the name of a file begins that ``streamflow lake compact`` has written."""
REPLACES: Final = "streamflow.replaces"
"""Key in the metadata of a merged file: the names of the files in its folder that it replaces, one a line."""
MERGED_AT: Final = "streamflow.merged_at_ms"


class LakeStore(Protocol):
    """The files of a lake; a name is the path below the lake's folder, such as ``decisions/loaded_on=.../part-...``."""

    def sizes(self, table: str) -> dict[str, int]:
        """Return the bytes of each completed file of a table, by name."""

    def open(self, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Open a file for reads at any position."""

    def add(self, name: str, file: Path) -> None:
        """Copy a file into the lake: readers see all of it or nothing."""

    def delete(self, name: str) -> None:
        """Delete a file; a missing file is no error."""


def is_completed(name: str) -> bool:
    """Return whether readers see a file: files in progress have other names."""
    return name.rpartition("/")[2].startswith("part-")


class LakeFolder:
    """A lake in a folder."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; it may be missing."""
        self._folder = folder

    def sizes(self, table: str) -> dict[str, int]:
        """Return the files of a table; see ``LakeStore``."""
        files = statuses(paths_in(self._folder, f"{table}/*/part-*"))
        return {path.relative_to(self._folder).as_posix(): status.st_size for path, status in files}

    def open(self, name: str) -> Any:  # noqa: ANN401 - see LakeStore
        """Open a file; see ``LakeStore``."""
        from pyarrow import OSFile  # noqa: PLC0415 - only some installations have it

        return OSFile(str(self._folder / name))

    def add(self, name: str, file: Path) -> None:
        """Copy under a hidden name, write to the disk and rename; see ``LakeStore``."""
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}.inprogress")
        try:
            with file.open("rb") as source, hidden.open("wb") as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
            hidden.rename(target)
        finally:
            hidden.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Delete a file; see ``LakeStore``."""
        (self._folder / name).unlink(missing_ok=True)


class LakeBucket:
    """A lake as objects in a bucket.

    boto3 lists, adds and deletes, because pyarrow would add half a file after an error. pyarrow reads.
    """

    def __init__(self, uri: str) -> None:
        """Use ``s3://bucket/prefix``; this sends no request."""
        import boto3  # noqa: PLC0415 - Airflow's environment has none
        from botocore.config import Config  # noqa: PLC0415

        self._bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        style = {} if s3_endpoint() is None else {"addressing_style": "path"}
        self._client = boto3.client("s3", config=Config(s3=style))
        self._reader: Any = None

    def sizes(self, table: str) -> dict[str, int]:
        """Return the objects of a table; see ``LakeStore``."""
        prefix = f"{self._prefix}{table}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        found = (
            (item["Key"].removeprefix(self._prefix), item["Size"])
            for page in pages
            for item in page.get("Contents", ())
        )
        return {name: size for name, size in found if is_completed(name)}

    def open(self, name: str) -> Any:  # noqa: ANN401 - see LakeStore
        """Open an object; see ``LakeStore``."""
        from pyarrow.fs import S3FileSystem  # noqa: PLC0415 - only some installations have it

        if self._reader is None:
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            endpoint = urlsplit(s3_endpoint() or "https:")
            options = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if endpoint.netloc else {}
            self._reader = S3FileSystem(region=region, **options)
        return self._reader.open_input_file(f"{self._bucket}/{self._prefix}{name}")

    def add(self, name: str, file: Path) -> None:
        """Upload; S3 shows an object only when all its parts are there; see ``LakeStore``."""
        self._client.upload_file(str(file), self._bucket, self._prefix + name)

    def delete(self, name: str) -> None:
        """Delete an object; see ``LakeStore``."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


@contextmanager
def open_lake(settings: Settings) -> Iterator[LakeStore]:
    """Open the lake of the settings for a ``with`` block.

    Raises:
        UserError: there is no lake, or its folder or bucket does not answer or refuses the request.
    """
    from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415 - Airflow's environment has none
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    path = settings.lake_path
    if path is None:
        raise UserError("STREAMFLOW_LAKE_PATH is not set", "set it to the lake's folder or s3://bucket/prefix")
    refused: Any = (BotoCoreError, ClientError, S3UploadFailedError, OSError)
    try:
        yield LakeBucket(path) if path.startswith("s3://") else LakeFolder(Path(path.removeprefix("file://")))
    except WaitTimeoutError:  # an OSError, and the caller's own
        raise
    except refused as error:
        raise UserError(
            f"{path} does not answer or refuses the request ({error})",
            "check the path, AWS_ENDPOINT_URL and the credentials of this process",
        ) from None


def replaced(store: LakeStore, names: Iterable[str]) -> dict[str, tuple[int, set[str]]]:
    """Return the time of the merge in ms, and the names of the files that it replaces, by merged file."""
    from pyarrow import parquet  # noqa: PLC0415 - only some installations have it

    found = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if last.startswith(MERGED):
            with store.open(name) as file:
                metadata = parquet.read_metadata(file).metadata
            files = {f"{folder}/{item}" for item in metadata[REPLACES.encode()].decode().split("\n")}
            found[name] = int(metadata[MERGED_AT.encode()]), files
    return found


def live_files(store: LakeStore, table: str) -> dict[str, int]:
    """Return the bytes of each file that readers read: without the files that a merged file replaces."""
    sizes = store.sizes(table)
    gone = {item for _, files in replaced(store, sizes).values() for item in files}
    return {name: size for name, size in sizes.items() if name not in gone}
