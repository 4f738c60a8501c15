"""Size of the lake and time of its marts, on decisions made from the card file.

``python -m tests.lab.benchmarks.lake_rates --rows 10000000`` writes the Parquet files of that many decisions, one file
for each minute at 1,000 decisions/s, and prints as JSON: bytes a row, seconds of a daily summary straight from the
files, seconds and memory of the first dbt build, seconds of a build after one more file, and what a compaction changes.
DuckDB makes the rows from 4,000 real decisions, without Kafka and Flink: about a second for 100,000 rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import duckdb

from flink_jobs.changing_folders import files_below
from flink_jobs.job.lake_tables import DECISIONS, PARTITION
from flink_jobs.settings import Settings
from flink_jobs.warehouse.dbt_project import LAKE_BUILD, Dbt
from flink_jobs.warehouse.lake_compaction import compact
from flink_jobs.warehouse.lake_files import LakeFolder
from tests.integration.decided_cards import decide
from tests.lab.lake_files import write_lake

DISTINCT: Final = 4_000
ROWS_PER_FILE: Final = 60_000
FILES_PER_DAY: Final = 24
"""Days of loading are shorter than real ones, so that the files spread over several partitions."""

# Each row gets its own ids, time, amount and scores; features that are no counts get their own digits. About 3.6 % of
# the decisions are alerts.
_ROWS: Final = """
    SELECT * EXCLUDE ({partition}) REPLACE (
        md5(seed.transaction_id || copy::VARCHAR || '-{file}') AS transaction_id,
        seed.customer_id || '-' || ((copy + {file} * 15) % 997)::VARCHAR AS customer_id,
        event_time_ms + ({file} * 60 + copy) * 1000 AS event_time_ms,
        processing_time_ms + {file} * 60000 AS processing_time_ms,
        amount_minor + (random() * 900)::BIGINT AS amount_minor,
        ml AS ml_score, 0.5 AS alpha, 0.5 * ml + 0.5 * rule_score AS score,
        0.5 * ml + 0.5 * rule_score >= threshold AS is_alert, 'ok' AS model, '20261127-benchmark' AS model_version,
        map_from_entries(list_transform(map_entries(features), lambda item: {{
            'key': item.key,
            'value': CASE WHEN item.value = floor(item.value) THEN item.value
                ELSE item.value * (0.9 + random() / 5) END
        }})) AS features,
        {file} * 60000 + row_number() OVER () AS decision_offset,
        {file} * 60000 + row_number() OVER () AS source_offset,
        TIMESTAMP_MS '2026-01-01 00:00:00' + INTERVAL (({file} // {per_day}) * 86400 + ({file} % {per_day}) * 60) SECOND
            AS loaded_at)
    FROM (SELECT *, pow(random(), 6) AS ml FROM seed, range({copies}) AS copies (copy)) AS seed"""
_SUMMARY: Final = """
    SELECT (make_timestamptz(event_time_ms * 1000) AT TIME ZONE 'UTC')::DATE AS day, currency, count(*),
        sum(amount_minor), count(*) FILTER (is_alert), count(DISTINCT customer_id), avg(score), max(score)
    FROM read_parquet('{lake}/decisions/*/part-*') GROUP BY ALL"""


def main() -> None:
    """Measure once and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="a folder with room for 1 kB a row; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamflow-lake-", dir=options.folder) as folder:
        print(json.dumps(measure(Path(folder), options.rows), indent=2))  # noqa: T201 - the result of the command


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Write the files, query them and build the marts; return the figures."""
    lake, files = folder / "lake", max(1, rows // ROWS_PER_FILE)
    with duckdb.connect() as connection:
        write_lake(decide(DISTINCT).decisions, folder / "seed")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE TABLE seed AS SELECT * FROM read_parquet('{folder}/seed/*/*/part-*', hive_partitioning = true)"  # noqa: S608
        )
        for file in range(files):
            _write_file(connection, lake, file)
        written = sum(status.st_size for path, status in files_below(lake) if path.name.startswith("part-"))
        _progress(f"{files} files written")
        summary_s = _summary(lake)
        dbt = Dbt(_settings(lake), folder / "dbt", lambda _: None)
        first_s = _build(dbt)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        slowest = _slowest(dbt)
        _progress(f"first build: {first_s} s")
        _write_file(connection, lake, files)
    next_s = _build(dbt)
    _progress(f"next build: {next_s} s")
    total = files * ROWS_PER_FILE
    return {
        "rows": total,
        "files": files,
        "bytes_a_row": round(written / total, 1),
        "daily_summary_s": round(summary_s, 2),
        "first_build_s": first_s,
        "first_build_peak_mib": peak // 1024,
        "slowest_nodes_of_the_first_build_s": slowest,
        "build_after_one_more_file_s": next_s,
        "marts_bytes_a_row": round(dbt.lake_database.stat().st_size / total, 1),
        "slowest_nodes_of_the_last_build_s": _slowest(dbt),
        "compaction": _compaction(lake),
    }


def _summary(lake: Path) -> float:
    """Return the seconds of a daily summary straight from the files."""
    started = time.monotonic()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_SUMMARY.format(lake=lake)).fetchall()
    return time.monotonic() - started


def _compaction(lake: Path) -> dict[str, Any]:
    """Merge the files of closed days and return the effect."""
    started = time.monotonic()
    largest = {"largest_bytes": 512 << 20, "grace_ms": 0}
    done = compact(LakeFolder(lake), 0, **largest)
    seconds = time.monotonic() - started
    compact(LakeFolder(lake), 1, **largest)  # deletes the replaced files
    return {
        "files": done.merged,
        "files_after": done.written,
        "seconds": round(seconds, 1),
        "rows_a_second": round(done.rows / seconds),
        "bytes_a_row": round(done.bytes_before / max(1, done.rows), 1),
        "bytes_a_row_after": round(done.bytes_after / max(1, done.rows), 1),
        "daily_summary_s_after": round(_summary(lake), 2),
    }


def _progress(what: str) -> None:
    print(f"lake_rates: {what}", file=sys.stderr, flush=True)  # noqa: T201 - a run takes minutes


def _write_file(connection: duckdb.DuckDBPyConnection, lake: Path, file: int) -> None:
    """Write the decisions of one checkpoint."""
    day = f"2026-01-{file // FILES_PER_DAY + 1:02}"
    target = lake / DECISIONS / f"{PARTITION}={day}"
    target.mkdir(parents=True, exist_ok=True)
    rows = _ROWS.format(partition=PARTITION, file=file, per_day=FILES_PER_DAY, copies=ROWS_PER_FILE // DISTINCT)
    rows = rows.replace("SELECT * EXCLUDE (", "SELECT * EXCLUDE (ml, copy, ", 1)
    connection.execute(f"COPY ({rows}) TO '{target}/part-{file}' (FORMAT parquet, COMPRESSION zstd)")


def _build(dbt: Dbt) -> float:
    started = time.monotonic()
    dbt.run(*LAKE_BUILD)
    return round(time.monotonic() - started, 1)


def _slowest(dbt: Dbt) -> dict[str, float]:
    results = sorted(dbt.results(), key=lambda result: -result["execution_time"])
    return {result["unique_id"].split(".", 1)[1]: round(result["execution_time"], 1) for result in results[:6]}


def _settings(lake: Path) -> Settings:
    """Return settings with a lake; dbt's target ``lake`` reads no other."""
    values = {
        "kafka_bootstrap_servers": "unused", "flink_rest_url": "unused", "checkpoint_dir": "unused",
        "savepoint_dir": "unused", "postgres_host": "unused", "postgres_port": 1, "postgres_database": "unused",
        "postgres_user": "unused", "postgres_password": "unused", "lake_path": str(lake),
    }  # fmt: skip
    return Settings.model_validate(values)


if __name__ == "__main__":
    main()
