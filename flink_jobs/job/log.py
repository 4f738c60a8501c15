"""Structured log lines of the TaskManager: one JSON object per line, without card data."""

import logging
from datetime import UTC, datetime
from typing import Final

import orjson

from flink_jobs.card_numbers import masked

_LOGGER: Final = logging.getLogger("streamflow")


def log_event(event: str, **fields: str | float | bool | None) -> None:
    """Log an event with its fields; the level is WARNING where ``detail`` is not empty, else INFO."""
    _log(logging.WARNING if fields.get("detail") else logging.INFO, event, fields)


def log_error(event: str, **fields: str | float | bool | None) -> None:
    """Log an event of level ERROR: data are lost or wrong, and somebody must act."""
    _log(logging.ERROR, event, fields)


def _log(level: int, event: str, fields: dict[str, str | float | bool | None]) -> None:
    line = {
        "event": event,
        "timestamp": datetime.now(UTC).isoformat(),
        "level": logging.getLevelName(level).lower(),
        "component": "detect",
        "logger": _LOGGER.name,
        **fields,
    }
    _LOGGER.log(level, orjson.dumps(masked(line)).decode())
