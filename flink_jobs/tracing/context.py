"""The context of a trace: what the header ``traceparent`` says (W3C Trace Context, version 00)."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from typing import Final, NamedTuple

import orjson

HEADER: Final = "traceparent"
"""Name of the header, in HTTP and in Kafka, and of the field of a decision."""
TRACEPARENT: Final = re.compile(r"00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})")
"""Its value: the trace's id, the id of the span before, flags."""
_SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """The trace that a message belongs to, and the span that sent it."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    is_sampled: bool
    """Whether spans of this trace are exported; the first service of the trace decides that."""

    @property
    def text(self) -> str:
        """Return the value of the header.

        >>> TraceContext("4bf9" * 8, "00f0" * 4, True).text
        '00-4bf94bf94bf94bf94bf94bf94bf94bf9-00f000f000f000f0-01'
        """
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.is_sampled else 0:02x}"


def parse_traceparent(text: str) -> TraceContext | None:
    """Return the context in a header's value, ``None`` for an invalid value."""
    found = TRACEPARENT.fullmatch(text)
    return None if found is None else TraceContext(found[1], found[2], bool(int(found[3], 16) & _SAMPLED))


def sampled_context(headers: str) -> TraceContext | None:
    """Return the context of a Kafka record that belongs to a sampled trace, ``None`` for any other record.

    Args:
        headers: the headers as ``SourceRecord`` has them, a JSON object of base64 values.
    """
    if f'"{HEADER}"' not in headers:
        return None
    try:
        context = parse_traceparent(b64decode(orjson.loads(headers)[HEADER]).decode("ascii"))
    except (ValueError, TypeError, KeyError):
        return None  # a producer can send anything: the record is scored without a span
    return context if context is not None and context.is_sampled else None


def new_span_id() -> str:
    """Return a random id of a span."""
    return os.urandom(8).hex()


def new_trace_id() -> str:
    """Return a random id of a trace."""
    return os.urandom(16).hex()
