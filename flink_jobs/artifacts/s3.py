"""Stores model artifacts in a bucket of any service with an S3 interface.

boto3 reads endpoint, region and credentials from its own variables: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flink_jobs.core.models.artifact import ARTIFACT_FILES, read_bounded
from flink_jobs.core.models.faults import ModelError, ModelFault

if TYPE_CHECKING:
    from pathlib import Path

# Short timeouts: the job processes no transactions while a control message loads a model.
_TIMEOUTS: Final = Config(connect_timeout=3, read_timeout=10, retries={"max_attempts": 2})
_MISSING_CODES: Final = {"NoSuchKey", "NoSuchBucket", "404"}


class S3Store:
    """A store of objects ``<prefix>/<version>/<file>`` in a bucket; see ``ArtifactStore``."""

    def __init__(self, uri: str) -> None:
        """Use ``s3://bucket`` or ``s3://bucket/prefix``; this sends no request."""
        self._bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = boto3.client("s3", config=_TIMEOUTS)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def publish(self, directory: Path) -> str:
        """Upload a version, the manifest last: a version without a manifest is incomplete and does not exist."""
        version = directory.name
        content = {file: read_bounded(directory / file, limit) for file, limit in ARTIFACT_FILES.items()}
        for file in reversed(list(ARTIFACT_FILES)):
            try:
                present = self.read(version, file)
            except ModelError as error:
                if error.reason is not ModelFault.MISSING:
                    raise
                self._call(version, file, "put_object", Body=content[file])
            else:
                if present != content[file]:
                    detail = f"{self._uri(version)} holds another model; a published version never changes"
                    raise ModelError(ModelFault.DIGEST_MISMATCH, detail)
        return self._uri(version)

    def read(self, version: str, file: str) -> bytes:
        """Return a file of a version, up to the size that ``ARTIFACT_FILES`` allows."""
        limit = ARTIFACT_FILES[file]
        answer = self._call(version, file, "get_object")
        try:
            content: bytes = answer["Body"].read(limit + 1)
        except BotoCoreError as error:
            raise ModelError(ModelFault.UNREADABLE, f"{self._uri(version)}/{file}: {type(error).__name__}") from error
        if len(content) > limit:
            raise ModelError(ModelFault.TOO_LARGE, f"{self._uri(version)}/{file} is longer than {limit:,} bytes")
        return content

    def _call(self, version: str, file: str, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - boto3 has no types
        key = f"{self._prefix}{version}/{file}"
        try:
            return getattr(self._client, operation)(Bucket=self._bucket, Key=key, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            fault = ModelFault.MISSING if code in _MISSING_CODES else ModelFault.UNREADABLE
            raise ModelError(fault, f"s3://{self._bucket}/{key}: {code}") from error
        except BotoCoreError as error:
            raise ModelError(ModelFault.UNREADABLE, f"s3://{self._bucket}/{key}: {type(error).__name__}") from error

    def _uri(self, version: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{version}"
