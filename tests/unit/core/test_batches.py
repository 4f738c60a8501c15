"""The buffers of the batched crossing: everything comes through, and the layout is pinned."""

from __future__ import annotations

from base64 import b64encode

import orjson
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.batches import pack_answer, unpack_batch
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload, unpack_line, unpack_record
from tests.account_samples import ACTIONS_TOPIC, action_record
from tests.packed_batches import pack_batch, pack_line, read_answer
from tests.packed_records import pack_record
from tests.strategies import TOPIC, record_of

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=20)
whole = st.none() | st.builds(WholePayload, st.integers(0, 2**31), st.just("ab" * 32), st.just(value=False))


@st.composite
def records(draw: st.DrawFn) -> SourceRecord:
    payload = draw(st.none() | st.binary(max_size=80))
    headers = draw(st.dictionaries(st.text(max_size=8), st.binary(max_size=8), max_size=2))
    text = (
        orjson.dumps({name: b64encode(value).decode() for name, value in headers.items()}).decode() if headers else ""
    )
    place = draw(st.integers(0, 100)), draw(st.integers(0, 2**63 - 1))
    cut = None if payload is None else draw(whole)
    return SourceRecord(payload, *place, "2026-01-01 00:00:00.123", text, draw(keys), TOPIC, cut)


@given(st.lists(st.tuples(records(), st.none() | st.binary(max_size=50)), max_size=8))
def test_records_and_states_come_through(items: list[tuple[SourceRecord, bytes | None]]) -> None:
    batch = pack_batch([record for record, _ in items], [state for _, state in items])
    assert unpack_batch(batch, TOPIC) == ([record for record, _ in items], [state for _, state in items])


@given(st.none() | st.binary(max_size=80), st.booleans())
def test_actions_on_accounts_come_through_with_their_own_topic(payload: bytes | None, is_cut: bool) -> None:  # noqa: FBT001 - drawn
    item = action_record(payload, length=None if payload is None or not is_cut else 70_000)
    assert unpack_batch(pack_batch([item, item], [None, b""]), TOPIC, ACTIONS_TOPIC) == ([item, item], [None, b""])
    assert unpack_record(pack_record(item), TOPIC, ACTIONS_TOPIC) == item


@given(
    st.dictionaries(keys, st.binary(max_size=20), max_size=4),
    st.lists(st.integers(0, 9), max_size=4),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.text(max_size=20)), max_size=6),
)
def test_answers_come_through(
    states: dict[str, bytes], forgotten: list[int], outputs: list[tuple[int, int, str]]
) -> None:
    messages = [text.encode(errors="replace") for _, _, text in outputs]
    numbers = [
        number
        for (index, tag, _), message in zip(outputs, messages, strict=True)
        for number in (index, tag, len(message))
    ]
    answer = read_answer(pack_answer(10, states, forgotten, numbers, messages))
    assert answer.size == 10
    assert answer.states == states
    assert answer.forgotten == forgotten
    assert answer.outputs == [
        (index, tag, message.decode()) for (index, tag, _), message in zip(outputs, messages, strict=True)
    ]


def test_the_layout_is_pinned() -> None:
    """Java writes batches and reads answers in this layout."""
    line = b"2\n7\n2026-01-01 00:00:00.123\n\nc-1\nV\xffx"
    record = unpack_line(line, TOPIC)
    assert record == record_of(b"\xffx", "c-1", 7, "")
    assert pack_line(record) == line
    lengths = b"\x24\0\0\0\x03\0\0\0" + b"\x24\0\0\0\xff\xff\xff\xff"
    assert unpack_batch(b"\x02\0\0\0" + lengths + line + b"abc" + line, TOPIC) == ([record, record], [b"abc", None])
    counts = b"\x02\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0"
    numbers = b"\x03\0\0\0\x02\0\0\0" + b"\0\0\0\0" + b"\x01\0\0\0\x03\0\0\0\x01\0\0\0"
    assert pack_answer(2, {"c-1": b"st"}, [0], [1, 3, 1], [b"o"]) == counts + numbers + b"c-1sto"
