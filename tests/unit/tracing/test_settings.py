"""The settings of traces: off by default, and no secret in the endpoint."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from flink_jobs.trace_settings import TraceSettings
from flink_jobs.tracing.target import TraceTarget

URL = "http://collector:4318"


def settings(**values: str) -> TraceSettings:
    return TraceSettings.model_validate(values)


def test_there_are_no_spans_by_default() -> None:
    assert settings().trace_target() is None
    assert settings(traces_headers="a=b").trace_target() is None


@pytest.mark.parametrize("endpoint", [URL, "https://traces.example/otlp", "http://127.0.0.1:4318/"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    assert settings(traces_endpoint=endpoint).trace_target() == TraceTarget(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["", "collector:4318", "ftp://collector", "http://canary@collector", "http://c/?token=canary"]
)
def test_credentials_in_the_endpoint_are_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        settings(traces_endpoint=endpoint)


def test_headers_are_pairs_and_a_secret() -> None:
    chosen = settings(traces_endpoint=URL, traces_headers="x-key=a canary==, x-team = fraud")
    target = chosen.trace_target()
    assert target is not None
    assert target.headers == {"x-key": "a canary==", "x-team": "fraud"}
    assert "canary" not in f"{chosen} {chosen.traces_headers!r} {target}"


@pytest.mark.parametrize("headers", ["", "canary", "=canary", "a=b,canary"])
def test_headers_that_are_no_pairs_are_refused_without_their_text(headers: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(traces_headers=headers)
    assert "canary" not in raised.value.errors()[0]["msg"]
