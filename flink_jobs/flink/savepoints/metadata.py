"""A snapshot's ``_metadata``: its operators, what state each has, and in which file.

The layout is that of Flink's ``MetadataV3Serializer`` to ``MetadataV6Serializer`` (Flink 1.11 to 2.2, which writes 6);
Flink reads every version it ever wrote, so a version never changes. Version 5 added names and uids of operators and is
the oldest version that this reader supports: StreamFlow has never run on a Flink that wrote an older version.

A state's bytes are in a file beside ``_metadata`` (a *relative* handle: a savepoint may be moved), in a file somewhere
else (an *absolute* one: a checkpoint's shared files), or, when they are few, in ``_metadata`` itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from flink_jobs.flink.savepoints.java_bytes import DamagedError, JavaBytes

MAGIC: Final = 0x4960672D
VERSIONS: Final = (5, 6)
_NULL, _BYTES, _FILE, _KEY_GROUPS, _PARTITIONED, _INCREMENTAL, _RELATIVE = range(7)
_SAVEPOINT_KEY_GROUPS, _INCREMENTAL_V2, _KEY_GROUPS_V2 = 7, 11, 12


class UnknownLayoutError(DamagedError):
    """The layout is not one that this reader supports, or the file is not a snapshot."""


@dataclass(frozen=True, slots=True)
class Handle:
    """The place of some bytes: in ``data``, or in a file of ``size`` bytes at ``path``."""

    size: int
    path: str = ""
    is_relative: bool = False
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class OperatorStates:
    """Operator state of one subtask: source offsets, a sink's transactions, broadcast configuration."""

    offsets: dict[str, tuple[int, ...]]
    """Start offset of each partition of a state, by the state's name."""
    handle: Handle


@dataclass(frozen=True, slots=True)
class KeyedStates:
    """Keyed state of one subtask."""

    first_key_group: int
    offsets: tuple[int, ...]
    """Start offset of each key group, 0 for an empty one; empty for an incremental checkpoint."""
    handle: Handle
    """The states with their names; for an incremental checkpoint only the names."""
    is_incremental: bool = False
    files: tuple[Handle, ...] = ()
    """RocksDB's files, for an incremental checkpoint."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the job that wrote the snapshot."""

    uid: str
    name: str
    parallelism: int
    max_parallelism: int
    operator_states: list[OperatorStates] = field(default_factory=list)
    keyed_states: list[KeyedStates] = field(default_factory=list)
    coordinator: Handle | None = None
    """A source's list of splits."""

    @property
    def handles(self) -> list[Handle]:
        """All handles to the state of this operator."""
        found = [states.handle for states in self.operator_states] + [keyed.handle for keyed in self.keyed_states]
        found += [file for item in self.keyed_states for file in item.files]
        return found if self.coordinator is None else [*found, self.coordinator]

    @property
    def has_state(self) -> bool:
        """Whether the snapshot holds state of this operator."""
        return bool(self.operator_states or self.keyed_states or self.coordinator)

    @property
    def bytes(self) -> int:
        """Size of all its state, in bytes."""
        return sum(handle.size for handle in self.handles)


def parse_metadata(data: bytes) -> list[Operator]:
    """Return the operators of a snapshot.

    Raises:
        UnknownLayoutError: not a Flink snapshot, or of a version that this reader does not support.
        DamagedError: the data are cut short or damaged.
    """
    source = JavaBytes(data)
    if len(data) < 8 or source.integer() != MAGIC:  # noqa: PLR2004 - magic and version
        raise UnknownLayoutError("its first bytes are not those of a Flink snapshot")
    version = source.integer()
    if version not in VERSIONS:
        raise UnknownLayoutError(
            f"its layout has version {version}, this reader supports {VERSIONS[0]} to {VERSIONS[-1]}"
        )
    source.long()  # the checkpoint's number
    if source.integer():
        raise UnknownLayoutError("it holds master states, which no StreamFlow job writes")
    return [_operator(source) for _ in range(_count(source))]


def _count(source: JavaBytes) -> int:
    count = source.integer()
    if count < 0:
        raise DamagedError(f"count {count} before byte {source.at:,}")
    return count


def _operator(source: JavaBytes) -> Operator:
    name, uid = source.utf(), source.utf()
    source.raw(16)  # the operator's id, a hash of the uid
    parallelism, max_parallelism = source.integer(), source.integer()
    operator = Operator(uid, name, parallelism, max_parallelism, coordinator=_stream(source))
    subtasks = source.integer()  # negative: all of them had finished
    for _ in range(max(subtasks, 0)):
        if source.integer() >= 0:  # a finished subtask's index is stored as a negative number, and it has no state
            _subtask(source, operator)
    return operator


def _subtask(source: JavaBytes, operator: Operator) -> None:
    for _ in ("managed", "raw"):
        if source.integer():
            kind = source.byte()
            if kind == _PARTITIONED:
                operator.operator_states.append(_partitioned(source))
            elif kind != _NULL:
                raise UnknownLayoutError(f"operator state of kind {kind} before byte {source.at:,}")
    for _ in ("managed", "raw"):
        keyed = _keyed(source)
        if keyed is not None:
            operator.keyed_states.append(keyed)
    for _ in ("input channels", "result partitions"):
        if source.integer():
            raise UnknownLayoutError("it is an unaligned checkpoint, which holds records in flight")


def _partitioned(source: JavaBytes) -> OperatorStates:
    offsets = {}
    for _ in range(_count(source)):
        name = source.utf()
        source.byte()  # how it is distributed over subtasks
        offsets[name] = tuple(source.long() for _ in range(_count(source)))
    return OperatorStates(offsets, _required(source))


def _keyed(source: JavaBytes) -> KeyedStates | None:
    kind = source.byte()
    if kind == _NULL:
        return None
    if kind in {_KEY_GROUPS, _KEY_GROUPS_V2, _SAVEPOINT_KEY_GROUPS}:
        first, groups = source.integer(), _count(source)
        offsets = tuple(source.long() for _ in range(groups))
        found = KeyedStates(first, offsets, _required(source))
        if kind == _KEY_GROUPS_V2:
            source.utf()  # the handle's id
        return found
    if kind not in {_INCREMENTAL, _INCREMENTAL_V2}:
        raise UnknownLayoutError(f"keyed state of kind {kind} before byte {source.at:,}")
    source.long()  # the checkpoint's number
    source.utf()  # the backend's id
    first = source.integer()
    _count(source)  # of key groups
    if kind == _INCREMENTAL_V2:
        source.long()  # bytes that this checkpoint added
    names = _required(source)
    files = tuple(_local_file(source) for _ in ("shared", "private") for _ in range(_count(source)))
    if kind == _INCREMENTAL_V2:
        source.utf()  # the handle's id
    return KeyedStates(first, (), names, is_incremental=True, files=files)


def _local_file(source: JavaBytes) -> Handle:
    source.utf()  # its name in RocksDB's folder
    return _required(source)


def _required(source: JavaBytes) -> Handle:
    handle = _stream(source)
    if handle is None:
        raise DamagedError(f"a state without bytes before byte {source.at:,}")
    return handle


def _stream(source: JavaBytes) -> Handle | None:
    kind = source.byte()
    if kind == _NULL:
        return None
    if kind == _BYTES:
        source.utf()  # the path of the file that a larger state would be in
        data = source.block()
        return Handle(len(data), data=data)
    if kind == _FILE:
        size = source.long()
        return Handle(size, source.utf())
    if kind == _RELATIVE:
        path = source.utf()
        return Handle(source.long(), path, is_relative=True)
    raise UnknownLayoutError(f"a handle of kind {kind} before byte {source.at:,}")
