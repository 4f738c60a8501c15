"""An S3 server for unit tests: moto's HTTP server in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server; yield its URL."""
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def create_bucket(monkeypatch: pytest.MonkeyPatch, endpoint: str, bucket: str) -> str:
    """Point the S3 clients of a test at a server, create a bucket there, and return the URI of a folder in it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"
