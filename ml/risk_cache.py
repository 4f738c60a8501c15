"""Keeps the inputs of merchants, terminals, devices and cards as Parquet, one file for each entity.

The key is a digest of everything that a replay of the entity reads: its ids, and time, amount, label, customer and
transaction of every row, in their order; the delay of labels; and all code. It does not depend on where the rows are
from, so rows that were left out, another file with the same rows or other entities beside it need no rule.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import orjson

from flink_jobs.core.features.entity_risk import RISK_NAMES
from ml.entity_risk import ids_of
from ml.feature_cache import GROUP_ROWS, code_digest
from ml.kept_files import DamagedCacheError, KeptFiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from flink_jobs.core.features.entity_risk import Entity
    from ml.dataset import Dataset


def risk_key(dataset: Dataset, entity: Entity, delay_days: int) -> str:
    """Return the key of an entity's inputs, hex."""
    digest = hashlib.sha256(orjson.dumps(["risk", code_digest(), entity, RISK_NAMES[entity], delay_days, len(dataset)]))
    for column in (ids_of(dataset, entity), dataset.customer):
        column.update(digest)
    for values, dtype in ((dataset.event_time_ms, "<i8"), (dataset.amount, "<f8"), (dataset.labels, "<i1")):
        digest.update(np.ascontiguousarray(values, dtype=dtype).tobytes())
    digest.update(orjson.dumps(dataset.transaction_ids.tolist()))
    return digest.hexdigest()


class RiskCache:
    """The inputs of entities in one folder. The files hold no ids."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, and create it if it does not exist.

        Raises:
            OSError: that is not possible.
        """
        self._files = KeptFiles(folder)

    def read(self, key: str, entity: Entity, rows: int) -> NDArray[np.float64] | None:
        """Return the inputs of an entity, rows x ``RISK_NAMES[entity]``; None without a file.

        Args:
            key: see ``risk_key``.
            entity: the entity of the key.
            rows: the number of rows of the key.

        Raises:
            DamagedCacheError: a file exists, and its bytes are not those that were written.
        """
        from pyarrow import parquet  # noqa: PLC0415 - takes a second to import

        with self._files.opened(key) as kept:
            if kept is None:
                return None
            values = np.empty((rows, len(RISK_NAMES[entity])))
            with parquet.ParquetFile(kept.file) as file:
                if file.metadata.num_rows != rows:
                    raise DamagedCacheError(f"{kept.path} has {file.metadata.num_rows} rows, and {rows} are needed")
                start = 0
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    for place, name in enumerate(RISK_NAMES[entity]):
                        values[start : start + table.num_rows, place] = table.column(name).to_numpy()
                    start += table.num_rows
            return values

    def write(self, key: str, entity: Entity, values: NDArray[np.float64]) -> Path:
        """Keep the inputs of an entity.

        Raises:
            OSError: the folder cannot be written.
        """
        return self._files.keep(key, partial(_write, entity, values))


def _write(entity: Entity, values: NDArray[np.float64], path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import
    from pyarrow import parquet  # noqa: PLC0415

    names = RISK_NAMES[entity]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with parquet.ParquetWriter(str(path), schema, compression="zstd") as writer:
        for start in range(0, max(len(values), 1), GROUP_ROWS):
            rows = values[start : start + GROUP_ROWS]
            columns = [pa.array(np.ascontiguousarray(rows[:, place])) for place in range(len(names))]
            writer.write_table(pa.table(columns, schema=schema))
