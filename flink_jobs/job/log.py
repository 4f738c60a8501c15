"""Structured log lines of the TaskManager: one JSON object per line, without card data."""

import logging
from typing import Final

import orjson

_LOGGER: Final = logging.getLogger("streamflow")


def log_event(event: str, **fields: str | float | bool | None) -> None:
    """Log an event with its fields; the level is WARNING where ``detail`` is not empty, else INFO."""
    level = logging.WARNING if fields.get("detail") else logging.INFO
    _LOGGER.log(level, orjson.dumps({"event": event, **fields}).decode())
