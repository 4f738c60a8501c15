"""Packs batches and reads answers as Java does (``flink_jobs/crossing``), for tests without a JVM."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack_from
from typing import NamedTuple

from flink_jobs.core.parsing.source_record import SourceRecord
from tests.packed_records import flag_of


class Answer(NamedTuple):
    """A read answer: ``states`` by customer; outputs as index, tag and text."""

    size: int
    states: dict[str, bytes]
    forgotten: list[int]
    outputs: list[tuple[int, int, str]]


def pack_line(record: SourceRecord) -> bytes:
    """Return a record as the Java source packs it."""
    fields = (str(record.partition), str(record.offset), record.timestamp, record.headers, record.routing_key)
    head = "".join(f"{field}\n" for field in fields).encode()
    return head + flag_of(record).encode() + (record.payload or b"")


def pack_batch(records: Sequence[SourceRecord], states: Sequence[bytes | None]) -> bytes:
    """Return a batch; a state of ``None`` is not sent."""
    lines = [pack_line(record) for record in records]
    lengths: list[int] = []
    for line, state in zip(lines, states, strict=True):
        lengths += [len(line), -1 if state is None else len(state)]
    body = b"".join(line + (state or b"") for line, state in zip(lines, states, strict=True))
    return pack(f"<{1 + len(lengths)}i", len(lines), *lengths) + body


def read_answer(answer: bytes) -> Answer:
    """Return the parts of an answer; its lengths must cover it exactly."""
    size, states, forgotten, outputs = unpack_from("<4i", answer)
    numbers = unpack_from(f"<{2 * states + forgotten + 3 * outputs}i", answer, 16)
    at = 16 + 4 * len(numbers)
    read: Answer = Answer(size, {}, list(numbers[2 * states : 2 * states + forgotten]), [])
    for number in range(states):
        key, length = numbers[2 * number : 2 * number + 2]
        read.states[answer[at : at + key].decode()] = answer[at + key : at + key + length]
        at += key + length
    for number in range(outputs):
        first = 2 * states + forgotten + 3 * number
        index, tag, length = numbers[first : first + 3]
        read.outputs.append((index, tag, answer[at : at + length].decode()))
        at += length
    assert at == len(answer)
    return read
