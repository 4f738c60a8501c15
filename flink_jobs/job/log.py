"""Structured log lines from inside the TaskManager: one JSON object each, never any card data."""

import logging
from typing import Final

import orjson

_LOGGER: Final = logging.getLogger("streamflow")


def log_event(event: str, **fields: str | float | bool | None) -> None:
    """Log an event with its fields at level INFO; a ``detail`` that is not empty marks a WARNING."""
    level = logging.WARNING if fields.get("detail") else logging.INFO
    _LOGGER.log(level, orjson.dumps({"event": event, **fields}).decode())
