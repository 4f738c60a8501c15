"""Merges the files of closed days of the lake: the job writes one file for each checkpoint.

A merge is one step: the merged file appears with all its rows, and its metadata names the files that it replaces.
Readers leave those out (``lake_files.live_files``, dbt's macro ``decisions_relation``). A later run deletes them, so a
query that began before the merge still finds them. A run that is killed leaves a complete lake at every point:

- before the merged file appears: nothing has changed;
- after it: the replaced files still exist, readers leave them out, and the next run deletes them.

A day is closed when the lake has files of the second day after it. This is no guess about time: a job that resumes from
its last checkpoint looks for the files of that checkpoint, which are of the newest day or of the day before.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.errors import UserError
from flink_jobs.warehouse.lake_files import MERGED, MERGED_AT, REPLACES, replaced

if TYPE_CHECKING:
    from flink_jobs.warehouse.lake_files import LakeStore

TABLES: Final = ("decisions", "rejected_decisions")
CLOSED_AFTER: Final = timedelta(days=2)
GROUP_ROWS: Final = 122_880
"""Rows of a row group: DuckDB reads row groups in parallel. This many decisions need about 150 MB in memory."""


@dataclass
class Compaction:
    """What a run has done.

    Attributes:
        merged: files that were merged.
        written: files that replace them.
        rows: rows in those files.
        bytes_before: bytes of the merged files.
        bytes_after: bytes of the files that replace them.
        deleted: files that earlier merges replaced.
    """

    merged: int = 0
    written: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    deleted: list[str] = field(default_factory=list)


def compact(store: LakeStore, now_ms: int, *, largest_bytes: int, grace_ms: int) -> Compaction:
    """Merge the files of closed days, and delete files that were replaced more than ``grace_ms`` ago.

    Args:
        store: the lake.
        now_ms: time of the merge, milliseconds since the epoch.
        largest_bytes: a merged file replaces files of at most this many bytes together.
        grace_ms: how long replaced files stay.

    Raises:
        UserError: files of one day have different columns, or a merged file lacks rows.
    """
    done = Compaction()
    for table in TABLES:
        sizes = store.sizes(table)
        merged = replaced(store, sizes)
        for merged_at_ms, files in merged.values():
            if now_ms - merged_at_ms >= grace_ms:
                for item in sorted(files & sizes.keys()):
                    store.delete(item)
                    done.deleted.append(item)
        gone = {item for _, files in merged.values() for item in files}
        left = {name: size for name, size in sizes.items() if name not in gone and name not in merged}
        for group in _groups(left, _closed_days(sizes), largest_bytes):
            _merge(store, group, {name: sizes[name] for name in group}, now_ms, done)
    return done


def _day(name: str) -> date:
    """Return the day of loading of a file, from its folder's name."""
    return date.fromisoformat(name.split("/")[1].partition("=")[2])


def _closed_days(names: Iterable[str]) -> set[date]:
    days = {_day(name) for name in names}
    return {day for day in days if day + CLOSED_AFTER <= max(days)}


def _groups(sizes: dict[str, int], closed: set[date], largest_bytes: int) -> Iterator[list[str]]:
    """Yield the files to merge, in order of their names: at least two of one day, up to ``largest_bytes`` together."""
    group: list[str] = []
    total = 0
    for name in sorted(name for name in sizes if _day(name) in closed):
        if group and (_day(group[0]) != _day(name) or total + sizes[name] > largest_bytes):
            if len(group) > 1:
                yield group
            group, total = [], 0
        group.append(name)
        total += sizes[name]
    if len(group) > 1:
        yield group


def _merge(store: LakeStore, group: list[str], sizes: dict[str, int], now_ms: int, done: Compaction) -> None:
    """Write one merged file and add it to the lake."""
    folder = group[0].rpartition("/")[0]
    # The name follows from the files: a second run, or one after a kill, makes the same file.
    digest = hashlib.sha256("\n".join(group).encode()).hexdigest()[:32]
    with tempfile.TemporaryDirectory(prefix="streamflow-lake-") as scratch:
        file = Path(scratch) / "merged"
        metadata = {
            REPLACES: "\n".join(name.rpartition("/")[2] for name in group),
            MERGED_AT: str(now_ms),
        }
        rows = _write(store, group, file, metadata)
        store.add(f"{folder}/{MERGED}{digest}", file)
        done.bytes_after += file.stat().st_size
    done.merged += len(group)
    done.written += 1
    done.rows += rows
    done.bytes_before += sum(sizes.values())


def _write(store: LakeStore, group: list[str], target: Path, metadata: dict[str, str]) -> int:
    """Write the rows of the files to one file, read its number of rows back and return it.

    Raises:
        UserError: a column has different types, or the new file has another number of rows.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import
    from pyarrow import parquet  # noqa: PLC0415

    rows, waiting = 0, []
    schema, texts = _columns(store, group)
    with parquet.ParquetWriter(
        target, schema.with_metadata(metadata), compression="zstd", use_dictionary=texts
    ) as writer:
        for name in group:
            with store.open(name) as source, parquet.ParquetFile(source) as file:
                rows += file.metadata.num_rows
                for batch in file.iter_batches(batch_size=GROUP_ROWS // 4):
                    waiting.append(batch)
                    if sum(item.num_rows for item in waiting) >= GROUP_ROWS:
                        writer.write_table(_table(pa, waiting, schema, metadata), row_group_size=GROUP_ROWS)
                        waiting = []
        if waiting:
            writer.write_table(_table(pa, waiting, schema, metadata), row_group_size=GROUP_ROWS)
    written = parquet.read_metadata(target)
    if written.num_rows != rows or REPLACES.encode() not in written.metadata:
        raise UserError(
            f"the merge of {len(group)} files has {written.num_rows} rows, not {rows}", "nothing was changed"
        )
    return rows


def _columns(store: LakeStore, group: list[str]) -> tuple[Any, list[str]]:
    """Return the columns of some files together, and the paths of those with texts.

    A file of an older release lacks later columns; its rows get nulls. A dictionary makes columns of numbers larger,
    measured by 10 % for decisions, so only texts get one.

    Raises:
        UserError: two files have a column with the same name and different types.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import
    from pyarrow import parquet  # noqa: PLC0415

    schema, texts = pa.schema([]), dict[str, None]()
    for name in group:
        with store.open(name) as source, parquet.ParquetFile(source) as file:
            try:
                schema = pa.unify_schemas([schema, file.schema_arrow.remove_metadata()])
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise UserError(
                    f"{name} has a column of another type than {group[0]} ({error})", "this day stays as it is"
                ) from None
            columns = [file.schema.column(number) for number in range(len(file.schema))]
            texts |= {column.path: None for column in columns if column.physical_type == "BYTE_ARRAY"}
    return schema, list(texts)


def _table(pa: Any, batches: list[Any], schema: Any, metadata: dict[str, str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    tables = [pa.Table.from_batches([batch.replace_schema_metadata(None)]) for batch in batches]
    joined = pa.concat_tables([schema.empty_table(), *tables], promote_options="default")
    return joined.combine_chunks().replace_schema_metadata(metadata)
