"""The header ``traceparent``: which values are valid, and which records belong to a sampled trace."""

from __future__ import annotations

from base64 import b64encode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.tracing.context import TraceContext, parse_traceparent, sampled_context

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01"


def headers(value: str, name: str = "traceparent") -> str:
    return orjson.dumps({"other": "YQ==", name: b64encode(value.encode()).decode()}).decode()


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_context_is_its_text(is_sampled: bool) -> None:  # noqa: FBT001 - a parameter
    context = TraceContext(TRACE_ID, SPAN_ID, is_sampled)
    assert parse_traceparent(context.text) == context


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("{}", ""), ("not json", ""), ('"traceparent"', ""), ('{"traceparent":null}', ""),
        ('{"traceparent":7}', ""),
        ('{"traceparent":"ü"}', ""), (headers(SAMPLED), TRACE_ID), (headers(f"00-{TRACE_ID}-{SPAN_ID}-03"), TRACE_ID),
        (headers(f"00-{TRACE_ID}-{SPAN_ID}-00"), ""), (headers(SAMPLED, "traceparent2"), ""),
        (headers("x", 'x"traceparent"'), ""), (headers(SAMPLED + "\n"), ""),
    ],
)  # fmt: skip
def test_only_a_valid_sampled_context_counts(text: str, expected: str) -> None:
    context = sampled_context(text)
    assert (context.trace_id if context else "") == expected


@given(st.text() | st.binary().map(lambda value: headers(value.hex())))
def test_no_header_raises(text: str) -> None:
    sampled_context(text)
    sampled_context(f'{{"traceparent":{orjson.dumps(text).decode() if text.isprintable() else 0}}}')
