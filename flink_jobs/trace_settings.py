"""The settings of traces. ``Settings`` inherits them."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from flink_jobs.tracing.target import TraceTarget


class TraceSettings(BaseSettings):
    """Where spans go, and how many requests get them."""

    traces_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$",
        description="URL of an OTLP/HTTP receiver, such as http://collector:4318; spans go to /v1/traces below it; "
        "default: no spans",
    )
    traces_headers: SecretStr | None = Field(
        default=None,
        description="HTTP headers for the receiver, such as credentials: name=value, separated by commas",
    )
    traces_sample: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of the API's requests that get a trace; a caller's `traceparent` decides for its request",
    )

    @field_validator("traces_headers")
    @classmethod
    def _headers_are_pairs(cls, value: SecretStr | None) -> SecretStr | None:
        _pairs(value)
        return value

    def trace_target(self) -> TraceTarget | None:
        """Return the receiver of spans, ``None`` where no spans are exported."""
        return None if self.traces_endpoint is None else TraceTarget(self.traces_endpoint, _pairs(self.traces_headers))


def _pairs(headers: SecretStr | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in [] if headers is None else headers.get_secret_value().split(","):
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise ValueError("must be name=value pairs, separated by commas")
        found[name.strip()] = value.strip()
    return found
