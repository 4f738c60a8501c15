"""Keyed state of a canonical savepoint: the names of the states, then every key with its value.

    head:       version (int) | compressed (bool) | key serializer | states (short) | each: name, kind, ...
    key group:  state (short) | key (int, bytes) | value (int, bytes) | key | value ...

``_metadata`` gives the offset of each key group. The top bit of a key's first byte is set if the state changes after
its value; state 0xFFFF ends the key group. A key is the key group, the serialised key and its namespace. Serializers
describe themselves by class name and version; the composite ones (rows, values with a time to live, lists) nest,
and only this nesting must be parsed to find the state names that follow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from flink_jobs.flink.savepoints.java_bytes import Buffer, DamagedError, JavaBytes
from flink_jobs.flink.savepoints.metadata import KeyedStates, UnknownLayoutError

VERSION: Final = 6
"""Version of the head; Flink has written it since 1.7."""
_COMPOSITE_MAGIC: Final = 911108
_NESTED_MAGIC: Final = 1333245
_END_OF_GROUP: Final = 0xFFFF
_STATE_FOLLOWS: Final = 0x80
_LENGTH: Final = struct.Struct(">i")
_STATE: Final = struct.Struct(">H")


def state_names(source: JavaBytes) -> list[str]:
    """Return the names of an operator's keyed states, in the order of their numbers; timers are among them.

    Raises:
        UnknownLayoutError: the state is compressed, or this reader does not support its layout.
        DamagedError: the data are cut short or damaged.
    """
    version = source.integer()
    if version != VERSION:
        raise UnknownLayoutError(f"the layout of its keyed state has version {version}, this reader supports {VERSION}")
    if source.byte():
        raise UnknownLayoutError("its keyed state is compressed (execution.checkpointing.snapshot-compression)")
    source.integer()  # version of the serializer format
    _skip_serializer(source)
    return [_state_name(source) for _ in range(source.short())]


def _state_name(source: JavaBytes) -> str:
    name = source.utf()
    source.integer()  # its kind
    for _ in range(source.integer()):
        source.utf()  # an option
        source.utf()  # and its value
    for _ in range(source.integer()):
        source.utf()  # which serializer
        source.integer()  # version of the serializer format
        _skip_serializer(source)
    return name


def _skip_serializer(source: JavaBytes) -> None:
    """Skip the description of a serializer and of the serializers nested in it."""
    name = source.utf()
    source.integer()  # its version
    before = source.at
    if source.is_at_end or source.integer() != _COMPOSITE_MAGIC:
        source.at = before  # a simple serializer is described by its name alone
        return
    source.integer()  # the version of the composite
    if name.endswith("$RowSerializerSnapshot"):
        source.byte()  # whether rows have a kind
    if source.integer() != _NESTED_MAGIC:
        raise UnknownLayoutError(f"this reader does not support serializer {name}")
    source.integer()  # the version of the nesting
    for _ in range(source.integer()):
        _skip_serializer(source)


def entries(data: Buffer, keyed: KeyedStates, state: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of every entry of one state, by its number; both as Flink stored them.

    Raises:
        DamagedError: the data are cut short or damaged.
    """
    for number, offset in enumerate(keyed.offsets):
        if offset:
            yield from _group(data, offset, state, keyed.first_key_group + number)


def _group(data: Buffer, at: int, wanted: int, group: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one key group. This loop reads millions of entries, so it tracks the position itself."""
    unpack_length, unpack_state = _LENGTH.unpack_from, _STATE.unpack_from
    try:
        (state,) = unpack_state(data, at)  # type: ignore[arg-type]  # bytes or a map, both are buffers
        at += 2
        while state != _END_OF_GROUP:
            (length,) = unpack_length(data, at)  # type: ignore[arg-type]
            key = data[at + 4 : at + 4 + length]
            at += 4 + length
            (length,) = unpack_length(data, at)  # type: ignore[arg-type]
            end = at + 4 + length
            if length < 0 or not key or end > len(data):
                raise DamagedError(f"key group {group}: an entry ends outside the file, at byte {at:,}")
            last = key[0] & _STATE_FOLLOWS
            if state == wanted:
                yield (bytes([key[0] & ~_STATE_FOLLOWS]) + key[1:] if last else key), data[at + 4 : end]
            at = end
            if last:
                (state,) = unpack_state(data, at)  # type: ignore[arg-type]
                at += 2
    except struct.error:
        raise DamagedError(f"key group {group}: it ends at byte {len(data):,}, in the middle of an entry") from None
