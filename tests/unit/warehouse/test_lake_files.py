"""Compaction and check of the lake's files, in a folder and in a bucket: no row is lost or duplicated at any point."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from flink_jobs.errors import UserError
from flink_jobs.warehouse.completeness import OffsetRange
from flink_jobs.warehouse.lake_check import LakePartition, compare
from flink_jobs.warehouse.lake_compaction import GROUP_ROWS, Compaction, compact
from flink_jobs.warehouse.lake_files import MERGED, LakeBucket, LakeFolder, LakeStore, live_files
from tests.s3_server import create_bucket, s3_server

MIB = 1 << 20
HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeStore:
    """Return an empty lake."""
    if request.param == "folder":
        return LakeFolder(tmp_path / "lake")
    return LakeBucket(create_bucket(monkeypatch, request.getfixturevalue("endpoint"), f"lake-{abs(hash(tmp_path)):x}"))


def put(
    store: LakeStore, day: str, name: str, offsets: Sequence[int], table: str = "decisions", **more: pa.Array
) -> None:
    """Add a file with one row for each offset of partition 0."""
    columns = {
        "decision_partition": pa.array([0] * len(offsets), pa.int32()),
        "decision_offset": pa.array(offsets, pa.int64()),
        "features": pa.array([[("amount", 1.5), ("hour", None)]] * len(offsets), pa.map_(pa.string(), pa.float64())),
        "loaded_at": pa.array([NOW_MS] * len(offsets), pa.timestamp("ms", tz="UTC")),
        **more,
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "file"
        parquet.write_table(pa.table(columns), file)
        store.add(f"{table}/loaded_on={day}/part-{name}", file)


def rows(store: LakeStore, table: str = "decisions") -> list[dict[str, Any]]:
    """Return the rows that a reader sees, in order of their offsets."""
    found: list[dict[str, Any]] = []
    for name in live_files(store, table):
        with store.open(name) as file:
            found += parquet.read_table(file).to_pylist()
    return sorted(found, key=lambda row: row["decision_offset"])


def merge(store: LakeStore, now_ms: int = NOW_MS, largest_bytes: int = MIB) -> Compaction:
    return compact(store, now_ms, largest_bytes=largest_bytes, grace_ms=HOUR_MS)


def three_days(store: LakeStore) -> list[dict[str, Any]]:
    """Write three files on the closed first day and one on each of two later days; return all rows."""
    for number in range(3):
        put(store, "2026-01-01", f"x-{number}", range(number * 10, number * 10 + 10))
    put(store, "2026-01-02", "x-3", range(30, 40))
    put(store, "2026-01-03", "x-4", range(40, 50))
    return rows(store)


def test_a_closed_day_becomes_one_file_with_the_same_rows(store: LakeStore) -> None:
    before = three_days(store)
    done = merge(store)
    assert (done.merged, done.written, done.rows, done.deleted) == (3, 1, 30, [])
    assert rows(store) == before
    assert len(store.sizes("decisions")) == 6, "replaced files stay for queries that read them"
    assert merge(store, NOW_MS + HOUR_MS - 1) == Compaction()

    later = merge(store, NOW_MS + HOUR_MS)
    assert len(later.deleted) == 3
    assert rows(store) == before
    names = sorted(name.rpartition("/")[2] for name in store.sizes("decisions"))
    assert len(names) == 3
    assert names[0].startswith(MERGED)
    assert merge(store, NOW_MS + 9 * HOUR_MS) == Compaction(), "nothing is left to do"


def test_a_stopped_job_finds_the_files_of_its_last_checkpoint(store: LakeStore) -> None:
    put(store, "2026-01-01", "x-0", range(10))
    put(store, "2026-01-01", "x-1", range(10, 20))
    put(store, "2026-01-02", "x-2", range(20, 30))
    assert merge(store, NOW_MS + 10_000 * HOUR_MS) == Compaction(), "no day is closed by the clock"


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("point", ["before add", "after add", "first delete", "second delete"])
def test_a_killed_run_loses_and_repeats_no_row(store: LakeStore, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    before = three_days(store)
    add, delete = store.add, store.delete
    deleted: list[str] = []

    def killed_add(name: str, file: Path) -> None:
        if point == "after add":
            add(name, file)
        raise KilledError

    def killed_delete(name: str) -> None:
        if point == "first delete" or deleted:
            raise KilledError
        deleted.append(name)
        delete(name)

    if point.endswith("add"):
        monkeypatch.setattr(store, "add", killed_add)
    else:
        merge(store)
        monkeypatch.setattr(store, "delete", killed_delete)
    with pytest.raises(KilledError):
        merge(store, NOW_MS + HOUR_MS)
    assert rows(store) == before
    monkeypatch.setattr(store, "add", add)
    monkeypatch.setattr(store, "delete", delete)
    for hours in (2, 4):
        merge(store, NOW_MS + hours * HOUR_MS)
        assert rows(store) == before
    assert len(store.sizes("decisions")) == 3


def test_files_are_merged_up_to_a_size(store: LakeStore) -> None:
    before = three_days(store)
    size = max(store.sizes("decisions").values())
    done = merge(store, largest_bytes=2 * size)
    assert (done.merged, done.written) == (2, 1), "a single file is left as it is"
    assert rows(store) == before


def test_rows_of_files_without_a_later_column_get_nulls(store: LakeStore) -> None:
    three_days(store)
    put(store, "2026-01-01", "x-9", [99], more=pa.array(["a"]))
    before = rows(store)
    merge(store)
    (name,) = [name for name in live_files(store, "decisions") if "2026-01-01" in name]
    assert MERGED in name
    first_day = [*range(30), 99]
    expected = [{**row, "more": row.get("more")} if row["decision_offset"] in first_day else row for row in before]
    assert rows(store) == expected


def test_files_with_a_column_of_another_type_stay(store: LakeStore) -> None:
    three_days(store)
    put(store, "2026-01-01", "x-8", [98], more=pa.array([1]))
    put(store, "2026-01-01", "x-9", [99], more=pa.array(["a"]))
    before = rows(store)
    with pytest.raises(UserError, match="of another type"):
        merge(store)
    assert rows(store) == before


def test_many_rows_need_several_row_groups(tmp_path: Path) -> None:
    lake = LakeFolder(tmp_path / "lake")
    put(lake, "2026-01-01", "x-0", range(GROUP_ROWS))
    put(lake, "2026-01-01", "x-1", range(GROUP_ROWS, GROUP_ROWS + 5_000))
    put(lake, "2026-01-03", "x-2", [0])
    merge(lake, largest_bytes=1 << 30)
    (name,) = [name for name in lake.sizes("decisions") if MERGED in name]
    with lake.open(name) as file:
        assert parquet.read_metadata(file).num_row_groups == 2


# ---- the check


def of_kafka(offsets: Sequence[int]) -> Any:  # noqa: ANN401 - a Reader
    """Return a reader of a topic that holds these offsets in partition 0."""
    return lambda ranges: {
        (0, offset) for _, first, last in ranges for offset in range(first, last + 1) if offset in offsets
    }


def test_each_message_in_one_row_is_complete(store: LakeStore) -> None:
    put(store, "2026-01-01", "x-0", [0, 1, 2, 4])
    put(store, "2026-01-01", "x-1", [3, 6, 9], "rejected_decisions")
    found = compare(store, {0: (1, 9), 1: (0, 0)}, of_kafka([1, 2, 3, 4, 6, 7]))
    assert found[0] == LakePartition(0, 1, 9, rows=5, lost=1, duplicated=0, without_record=2)
    assert found[1] == LakePartition(1, 0, 0, rows=0, lost=0, duplicated=0, without_record=0)
    assert not found[0].is_complete
    assert found[1].is_complete


def test_a_removed_and_a_copied_file_are_found(store: LakeStore) -> None:
    three_days(store)
    bounds = {0: (0, 50)}
    assert compare(store, bounds, of_kafka(range(50)))[0].is_complete
    merge(store)
    assert compare(store, bounds, of_kafka(range(50)))[0].is_complete, "merged rows count once"
    store.delete("decisions/loaded_on=2026-01-02/part-x-3")
    put(store, "2026-01-03", "x-5", range(45, 50))
    (found,) = compare(store, bounds, of_kafka(range(50)))
    assert (found.lost, found.duplicated) == (10, 5)


def test_gaps_are_asked_as_ranges(store: LakeStore) -> None:
    put(store, "2026-01-01", "x-0", [12, 13, 17])
    asked: list[OffsetRange] = []

    def read(ranges: Sequence[OffsetRange]) -> set[tuple[int, int]]:
        asked.extend(ranges)
        return set()

    (found,) = compare(store, {0: (10, 20)}, read)
    assert asked == [OffsetRange(0, 10, 11), OffsetRange(0, 14, 16), OffsetRange(0, 18, 19)]
    assert found.is_complete
    assert found.without_record == 7
