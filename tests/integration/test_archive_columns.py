"""The archive's columns compared with the tables that the migrations create in a real Postgres."""

from __future__ import annotations

import pytest

from flink_jobs.job.archiver.tables import ARCHIVES, Archive
from flink_jobs.local.stack import Stack
from tests.integration import jobs

COLUMNS = """
    SELECT column_name, data_type, is_nullable = 'YES' AS is_nullable, is_generated = 'ALWAYS' AS is_generated,
        column_default IS NOT NULL AS has_default
    FROM information_schema.columns WHERE table_schema || '.' || table_name = %s"""
PRIMARY_KEY = """
    SELECT attname AS column_name FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indisprimary AND indrelid = to_regclass(%s)"""


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.topic)
def test_the_table_has_every_column_and_requires_no_other(stack: Stack, archive: Archive) -> None:
    table = {row["column_name"]: row for row in jobs.rows(stack, COLUMNS, archive.table)}
    assert table, f"no table {archive.table}"

    assert set(archive.columns) <= set(table)
    for name, kind in archive.columns.items():
        assert table[name]["data_type"] == kind, name
        assert not table[name]["is_generated"], f"the database must fill {name} itself"
    left = [row for name, row in table.items() if name not in archive.columns]
    assert [
        row["column_name"] for row in left if not (row["is_nullable"] or row["is_generated"] or row["has_default"])
    ] == []
    key = {row["column_name"] for row in jobs.rows(stack, PRIMARY_KEY, archive.table)}
    assert key == set(archive.primary_key), "the job upserts by the key of the table"
