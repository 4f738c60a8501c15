"""Structured logs: one JSON object per line, in the one schema of docs/logs.md. Callers must not log card data.

A line has ``timestamp``, ``level``, ``component``, ``logger`` and ``event``; inside a request ``request_id`` and, if
the caller sent one, ``trace_id``; for an exception ``error`` with its type and its places in the code. The text of an
exception is left out, because it can contain values of a record or of a setting. Card numbers in texts are masked.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

import orjson
import structlog

from flink_jobs.card_numbers import masked

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, WrappedLogger

CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("log_context", default={})  # noqa: B039 - it is never changed in place
"""The ids of the request that is being served."""
TRACE: ContextVar[str] = ContextVar("trace", default="")
"""Its header ``traceparent``, if the caller sent a valid one."""
FRAMES: Final = 20


class JsonFormatter(logging.Formatter):
    """Formats the records of Python's ``logging``; ``extra={"fields": {...}}`` adds fields to a line."""

    def __init__(self, component: str) -> None:
        """Set the component that all lines name."""
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        document: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "component": self._component,
            "logger": record.name,
            "event": record.getMessage(),
            **CONTEXT.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            document["error"] = describe(record.exc_info[1])
        return orjson.dumps(masked(document), default=str).decode()


def describe(error: BaseException) -> dict[str, Any]:
    """Return type, SQLSTATE and places of an exception, without its text.

    >>> describe(ValueError("4111111111111111"))
    {'type': 'ValueError', 'where': []}
    """
    kind = type(error)
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    found: dict[str, Any] = {
        "type": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(state := getattr(error, "sqlstate", None), str):
        found["sqlstate"] = state
    if error.__cause__ is not None:
        found["cause"] = describe(error.__cause__)
    return found


def log_to(stream: TextIO, component: str) -> None:
    """Send the records of all Python loggers to ``stream``: ours from INFO, those of packages from WARNING."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(component))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("api", "flink_jobs"):
        logging.getLogger(name).setLevel(logging.INFO)
    sys.excepthook = _log_exception


def _log_exception(kind: type[BaseException], error: BaseException, trace: Any) -> None:  # noqa: ANN401 - a traceback
    logging.getLogger("flink_jobs").critical("the process ends", exc_info=(kind, error, trace))


def json_log(stream: TextIO, **fields: str) -> FilteringBoundLogger:
    """Return a logger that writes lines with a UTC timestamp, a level and these fields to ``stream``."""
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_card_numbers,
            structlog.processors.JSONRenderer(),
        ],
    )
    return log.bind(**fields)


def _without_card_numbers(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: masked(value) for key, value in event.items()}
