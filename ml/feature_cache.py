"""Keeps the rows of a card file as Parquet, under a digest of everything that they depend on.

A file is named ``KEY-SHA256.parquet``: the key of ``cache_key``, and the digest of the file's own bytes
(``ml.kept_files``). The texts of all columns and the order of their codes come back as ``build_dataset`` made them.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

import flink_jobs
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.parsing.transactions import MAX_CLOCK_SKEW_MS
from ml.columns import NOTHING, Coded
from ml.dataset_parts import REJECTED, Columns, DatasetParts, columns_of
from ml.kept_files import KeptFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flink_jobs.core.own_features.loading import OwnFeatures
    from ml.dataset import Dataset
    from ml.kept_files import Kept

FORMAT: Final = 1
"""Version of the layout; part of the key."""
GROUP_ROWS: Final = 250_000
"""Rows of a Parquet row group: what is in memory a second time while a file is written or read."""
METADATA: Final = b"streamflow"
_PACKAGE: Final = Path(flink_jobs.__file__).parent
CODE: Final = (_PACKAGE / "core", _PACKAGE / "cards", _PACKAGE / "contracts", Path(__file__).parent)
"""Folders of the code that turns a card file into rows; every file in them is part of the key."""


class CachedRows(NamedTuple):
    """What was kept for a card file."""

    dataset: Dataset
    notes: tuple[str, ...]
    """What the replay said about rows that were left out."""
    path: Path


class CardFile(NamedTuple):
    """What the rows depend on, apart from code and own features."""

    name: str
    """Name of the card file: its ending chooses the reader."""
    sha256: str
    """Digest of its bytes, hex."""
    mapping_sha256: str
    """The same of its column mapping."""
    skip_bad_rows: bool
    config: DetectionConfig


def code_digest() -> str:
    """Return a digest of the code that turns a card file into rows, and of the versions that it runs on."""
    versions = sys.version_info[:3], np.__version__, orjson.__version__
    digest = hashlib.sha256(orjson.dumps([FORMAT, *versions]))
    for folder in CODE:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".c", ".yaml", ".json"}:
                digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cache_key(source: CardFile, features: OwnFeatures | None) -> str:
    """Return the key of a card file's rows, hex: another file, mapping, option, code or own feature gives another key.

    Of the configuration only rules and blacklist matter to the rows.
    """
    config = DetectionConfig(rules=source.config.rules, blacklist=source.config.blacklist)
    modules = [] if features is None else [[module.name, module.sha256] for module in features.modules]
    suffixes = "".join(Path(source.name.lower()).suffixes[-2:])
    parts = [
        code_digest(), source.sha256, suffixes, source.mapping_sha256, source.skip_bad_rows, config.to_json(), modules,
    ]  # fmt: skip
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


class FeatureCache:
    """The rows of card files in one folder. The files hold ids of customers, so only their owner can read them."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, and create it if it does not exist.

        Raises:
            OSError: that is not possible.
        """
        self._files = KeptFiles(folder)

    def read(self, key: str, features: OwnFeatures | None, now_ms: int) -> CachedRows | None:
        """Return the rows that were kept; None without any.

        Args:
            key: see ``cache_key``.
            features: the own features that the key names.
            now_ms: the clock. Rows later than it allows are not used: a replay would reject them.

        Raises:
            DamagedCacheError: a file exists, and its bytes are not those that were written.
        """
        with self._files.opened(key) as kept:
            if kept is None:
                return None
            rows = _read(kept, features)
        late = len(rows.dataset) and int(rows.dataset.event_time_ms.max()) > now_ms + MAX_CLOCK_SKEW_MS
        return None if late else rows

    def write(self, key: str, dataset: Dataset, notes: Sequence[str]) -> Path:
        """Keep rows, and remove other files of the key.

        Raises:
            OSError: the folder cannot be written.
        """
        return self._files.keep(key, lambda path: _write(path, dataset, notes))


def _write(path: Path, dataset: Dataset, notes: Sequence[str]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import
    from pyarrow import parquet  # noqa: PLC0415

    columns = columns_of(dataset)
    about = {REJECTED: dataset.rejected, "notes": list(notes), "columns": {n: _kind(c) for n, c in columns.items()}}
    metadata = {METADATA: orjson.dumps(about)}
    writer = None
    try:
        for start in range(0, max(len(dataset), 1), GROUP_ROWS):
            rows = np.arange(start, min(start + GROUP_ROWS, len(dataset)))
            group = pa.table({key: array for name in columns for key, array in _arrays(name, columns[name][rows])})
            if writer is None:
                schema = group.schema.with_metadata(metadata)
                writer = parquet.ParquetWriter(str(path), schema, compression="zstd")
            writer.write_table(group)
    finally:
        if writer is not None:
            writer.close()


def _kind(column: Any) -> list[Any]:  # noqa: ANN401 - an array or ``Coded``
    """Return how a column is kept: its kind, type and width."""
    if isinstance(column, Coded):
        return ["coded", "int32", 0]
    if column.dtype == np.object_:
        return ["text", "object", 0]
    return ["matrix" if column.ndim == 2 else "array", column.dtype.str, column.shape[1] if column.ndim == 2 else 0]  # noqa: PLR2004


def _arrays(name: str, column: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - as above; pyarrow has no types
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(column, Coded):
        used, codes = np.unique(column.codes, return_inverse=True)
        has_none = int(used.size > 0 and used[0] == NOTHING)
        names = pa.array([column.names[code] for code in used[has_none:].tolist()], pa.string())
        indices = pa.array((codes - has_none).astype(np.int32), mask=column.codes == NOTHING)
        yield name, pa.DictionaryArray.from_arrays(indices, names)
    elif column.dtype == np.object_:
        yield name, pa.array(column, pa.string())
    elif column.ndim == 1:
        yield name, pa.array(column)
    else:
        for place in range(column.shape[1]):
            yield f"{name}.{place}", pa.array(np.ascontiguousarray(column[:, place]))


def _read(kept: Kept, features: OwnFeatures | None) -> CachedRows:
    from pyarrow import parquet  # noqa: PLC0415 - takes a second to import

    parts = DatasetParts()
    with parquet.ParquetFile(kept.file) as file:
        about = orjson.loads(file.schema_arrow.metadata[METADATA])
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            parts.extend([{name: _column(table, name, *kind) for name, kind in about["columns"].items()}])
    return CachedRows(parts.dataset(features, about[REJECTED]), tuple(about["notes"]), kept.path)


def _column(table: Any, name: str, kind: str, dtype: str, width: int) -> Columns | Any:  # noqa: ANN401 - as above
    if kind == "matrix":
        matrix = np.empty((table.num_rows, width), dtype=dtype)
        for place in range(width):
            matrix[:, place] = table.column(f"{name}.{place}").to_numpy()
        return matrix
    column = table.column(name)
    if kind == "coded":
        column = column.unify_dictionaries().combine_chunks()
        codes = column.indices.fill_null(NOTHING).to_numpy(zero_copy_only=False).astype(np.int32)
        return Coded(codes, tuple(column.dictionary.to_pylist()))
    if kind == "text":
        texts = np.empty(table.num_rows, dtype=np.object_)
        texts[:] = column.to_pylist()
        return texts
    return column.to_numpy().astype(dtype, copy=False)
