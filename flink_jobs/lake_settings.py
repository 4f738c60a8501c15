"""The settings of the lake job. ``Settings`` inherits them."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


def s3_endpoint() -> str | None:
    """Return the URL of an S3-compatible service from the environment, ``None`` for AWS.

    boto3 reads the same variables. Parts that use another client than boto3 address buckets of such a service by path.
    """
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


_TOOLS = Path(__file__).resolve().parent.parent / ".tools"


class LakeSettings(BaseSettings):
    """Where the lake is, how often a file is completed, and the jars of its job."""

    lake_path: str | None = Field(
        default=None,
        pattern=r"^(s3://[^/]+|file:///|/).*",
        description="folder or s3://bucket/prefix to which the lake job writes decisions as Parquet; default: no lake",
    )
    lake_checkpoint_interval_ms: int = Field(
        default=60_000,
        ge=1_000,
        description="time between checkpoints of the lake job; each writes one file per subtask and day of loading",
    )
    lake_jars: Path = Field(
        default_factory=lambda: Path(os.environ.get("STREAMFLOW_TOOLS_DIR") or _TOOLS) / "jars" / "lake",
        description="folder of the jars that only the lake job loads; the same on every TaskManager",
    )
