"""Connection strings of Postgres's client library."""

from collections.abc import Mapping


def connection_string(values: Mapping[str, str]) -> str:
    """Return a libpq connection string of these parameters."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    """Return a value, quoted if necessary."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if escaped != value or " " in value or not value else value
