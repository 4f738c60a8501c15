"""Structured logs of the processes outside Flink: one JSON object per line. Callers must not log card data."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def json_log(stream: TextIO, **fields: str) -> FilteringBoundLogger:
    """Return a logger that writes lines with a UTC timestamp, a level and these fields to ``stream``."""
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
    )
    return log.bind(**fields)
