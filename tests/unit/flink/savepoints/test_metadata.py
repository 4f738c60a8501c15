"""The parts of `_metadata` that no golden savepoint has: checkpoints, operators that finished, layouts not read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from flink_jobs.contracts import uids
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.check import obstacles
from flink_jobs.flink.savepoints.metadata import Handle, Operator, UnknownLayoutError, parse_metadata
from flink_jobs.flink.savepoints.snapshot import open_snapshot
from tests import golden

NOTHING = b"\0"
NO_CHANNELS = struct.pack(">ii", 0, 0)


def utf(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def inline(data: bytes) -> bytes:
    return b"\1" + utf("where it would have been") + struct.pack(">i", len(data)) + data


def file(path: str, size: int) -> bytes:
    return b"\2" + struct.pack(">q", size) + utf(path)


def incremental(names: bytes, *files: bytes) -> bytes:
    """Return keyed state in RocksDB's files, as a checkpoint has it."""
    head = b"\x0b" + struct.pack(">q", 7) + utf("backend") + struct.pack(">iiq", 0, uids.MAX_PARALLELISM, 1)
    listed = struct.pack(">i", len(files)) + b"".join(utf("000001.sst") + item for item in files)
    return head + names + listed + struct.pack(">i", 0) + utf("handle")


def subtask(index: int = 0, operator: bytes = b"", keyed: bytes = NOTHING, channels: bytes = NO_CHANNELS) -> bytes:
    states = struct.pack(">i", 1) + operator if operator else struct.pack(">i", 0)
    return struct.pack(">i", index) + states + struct.pack(">i", 0) + keyed + NOTHING + channels


def operator(uid: str, *subtasks: bytes, finished: bool = False) -> bytes:
    count = -1 if finished else len(subtasks)
    head = utf(f"name of {uid}") + utf(uid) + bytes(16) + struct.pack(">ii", 1, uids.MAX_PARALLELISM)
    return head + NOTHING + struct.pack(">i", count) + b"".join(subtasks)


def metadata(*operators: bytes, version: int = 6, masters: int = 0) -> bytes:
    head = struct.pack(">iiqi", 0x4960672D, version, 3, masters)
    return head + struct.pack(">i", len(operators)) + b"".join(operators)


def names_of_a_real_job(folder: Path) -> bytes:
    """Return the head of real keyed state: in a checkpoint it stands alone."""
    with open_snapshot(str(golden.unpack(golden.GOLDEN[-1], folder))) as snapshot:
        detector = snapshot.operator(uids.DETECTOR)
        assert detector is not None
        [keyed] = detector.keyed_states
        return (snapshot.folder / keyed.handle.path).read_bytes()[: min(offset for offset in keyed.offsets if offset)]


def test_a_checkpoint_can_be_checked_but_not_inspected(tmp_path: Path) -> None:
    names = names_of_a_real_job(tmp_path / "golden")
    shared = tmp_path / "shared file"
    shared.write_bytes(b"sst")
    whole = metadata(operator(uids.DETECTOR, subtask(keyed=incremental(inline(names), file(shared.as_uri(), 3)))))
    (tmp_path / "_metadata").write_bytes(whole)
    with open_snapshot(str(tmp_path)) as snapshot:
        assert snapshot.is_incremental
        assert snapshot.operators[0].bytes == len(names) + 3
        assert snapshot.keyed_state_names(uids.DETECTOR) == {uids.CUSTOMER_STATE}
        assert obstacles(snapshot, "detect", "thread") == []
        assert [item.what.partition("; ")[0] for item in obstacles(snapshot, "detect", "process")] == [
            f"{tmp_path} was written in thread mode"
        ]
        snapshot.check_files()
        with pytest.raises(UserError, match="is a checkpoint; only RocksDB can read the files that hold its customers"):
            list(snapshot.customers())
        shared.unlink()
        with pytest.raises(UserError, match="is incomplete"):
            snapshot.check_files()


def test_finished_operators_and_subtasks_have_no_state() -> None:
    states = b"\4" + struct.pack(">i", 1) + utf("offsets") + b"\0" + struct.pack(">iq", 1, 0) + inline(b"x")
    whole = metadata(
        operator("all-finished", finished=True), operator("one-left", struct.pack(">i", -1), subtask(1, states))
    )
    finished, left = parse_metadata(whole)
    assert not finished.has_state
    assert (left.uid, left.name, left.parallelism) == ("one-left", "name of one-left", 1)
    assert [(item.offsets, item.handle) for item in left.operator_states] == [({"offsets": (0,)}, Handle(1, data=b"x"))]
    assert isinstance(left, Operator)


@pytest.mark.parametrize(
    ("whole", "why"),
    [
        (metadata(version=4), "its layout has version 4, this reader supports 5 to 6"),
        (metadata(version=9), "its layout has version 9"),
        (metadata(masters=1), "master states"),
        (metadata(operator("x", subtask(keyed=b"\x09"))), "keyed state of kind 9"),
        (metadata(operator("x", subtask(operator=b"\x08"))), "operator state of kind 8"),
        (metadata(operator("x", subtask(channels=struct.pack(">ii", 1, 0)))), "an unaligned checkpoint"),
        (metadata(operator("x", subtask(keyed=incremental(b"\x0a")))), "a handle of kind 10"),
    ],
)
def test_an_unsupported_layout_is_named(whole: bytes, why: str) -> None:
    with pytest.raises(UnknownLayoutError, match=why):
        parse_metadata(whole)
