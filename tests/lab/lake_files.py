"""Writes decisions as Parquet with the columns of the lake job, without Kafka and Flink, for tests and benchmarks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import orjson

from flink_jobs.job.lake_tables import COLUMNS, DECISIONS, PARTITION

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPES: Final = {
    "STRING": "VARCHAR", "INT": "INTEGER", "BIGINT": "BIGINT", "DOUBLE": "DOUBLE", "BOOLEAN": "BOOLEAN",
    "MAP<STRING, DOUBLE>": "MAP(VARCHAR, DOUBLE)", "MAP<STRING, STRING>": "MAP(VARCHAR, VARCHAR)",
    "ARRAY<ROW<`code` STRING, `contribution` DOUBLE>>": "STRUCT(code VARCHAR, contribution DOUBLE)[]",
    "ROW<`model_version` STRING, `ml_score` DOUBLE, `score` DOUBLE, `is_alert` BOOLEAN>":
        "STRUCT(model_version VARCHAR, ml_score DOUBLE, score DOUBLE, is_alert BOOLEAN)",
    "ARRAY<ROW<`action_id` STRING, `action` STRING, `scope` STRING, `rule` STRING, `expires_at_ms` BIGINT>>":
        "STRUCT(action_id VARCHAR, action VARCHAR, scope VARCHAR, rule VARCHAR, expires_at_ms BIGINT)[]",
    "TIMESTAMP_LTZ(3)": "TIMESTAMP_MS",
}  # fmt: skip
"""DuckDB's type of each Flink type in ``COLUMNS``."""


def duckdb_types() -> dict[str, str]:
    """Return DuckDB's type of each column of the lake."""
    return {name: _TYPES[kind] for name, kind in COLUMNS.items()}


def rows_of(documents: Iterable[dict[str, Any]], loaded_at: str) -> Iterable[dict[str, Any]]:
    """Yield the row of each decision, loaded at a UTC time such as ``2026-01-01 00:00:00``."""
    for number, document in enumerate(documents):
        source = {f"source_{name}": value for name, value in document["source"].items()}
        place = {"decision_partition": 0, "decision_offset": number}
        cells = {"variant": "champion", **document, **source, **place}
        cells |= {"loaded_at": loaded_at, PARTITION: loaded_at[:10]}
        yield {name: cells.get(name) for name in COLUMNS}


def write_lake(
    documents: Iterable[dict[str, Any]],
    lake: Path,
    loaded_at: str = "2026-01-01 00:00:00",
    without: tuple[str, ...] = (),
) -> None:
    """Write the files of one checkpoint, without the columns that an earlier release did not have."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        lines = Path(folder) / "rows.jsonl"
        lines.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows_of(documents, loaded_at)))
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in duckdb_types().items())
        target = lake / DECISIONS / f"{PARTITION}={loaded_at[:10]}"
        target.mkdir(parents=True, exist_ok=True)
        number = len(list(target.iterdir()))
        rows = f"read_json('{lines}', format = 'newline_delimited', columns = {{{columns}}})"
        connection.execute(f"""
            COPY (SELECT * EXCLUDE ({", ".join((PARTITION, *without))}) FROM {rows})
            TO '{target}/part-{number}' (FORMAT parquet, COMPRESSION zstd)""")  # noqa: S608 - our own names
