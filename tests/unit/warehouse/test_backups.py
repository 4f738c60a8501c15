"""Deletion of old backups. ``tests/integration/test_backup_drill.py`` restores backups on real servers."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from flink_jobs.warehouse.backup_store import FolderStore
from flink_jobs.warehouse.backups import SCHEMAS, TableSum, compare, complete_backups, prune, read_backup

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def add(store: FolderStore, age_days: int, *endings: str) -> str:
    name = f"{NOW - timedelta(days=age_days):streamflow-%Y%m%dT%H%M%SZ}"
    for ending in endings:
        store.write(f"{name}.{ending}", io.BytesIO(b"{}"))
    return name


@given(ages=st.sets(st.integers(min_value=0, max_value=60), max_size=8), keep=st.integers(min_value=1, max_value=60))
def test_backups_older_than_the_limit_are_deleted_but_never_the_newest(
    ages: set[int], keep: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("backups"))
    names = {age: add(store, age, "dump", "json") for age in sorted(ages, reverse=True)}
    deleted = [name for age, name in names.items() if age > keep and age != min(ages)]
    assert prune(store, NOW, keep) == deleted
    assert complete_backups(store) == [name for name in names.values() if name not in deleted]


def test_a_dump_without_its_sums_is_no_backup_and_goes_after_a_day(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "backups")
    complete, old, fresh = add(store, 20, "dump", "json"), add(store, 2, "dump"), add(store, 0, "dump")
    store.write("notes.txt", io.BytesIO(b"kept"))
    assert complete_backups(store) == [complete]
    with pytest.raises(UserError, match="is not complete"):
        read_backup(store, fresh)
    assert prune(store, NOW, 10) == [old]
    assert set(store.names()) == {f"{complete}.dump", f"{complete}.json", f"{fresh}.dump", "notes.txt"}


def test_the_tables_of_every_schema_are_compared() -> None:
    files = sorted((REPO_ROOT / "sql" / "migrations").glob("*.sql"))
    made = {name for file in files for name in re.findall(r"CREATE SCHEMA (?:IF NOT EXISTS )?(\w+)", file.read_text())}
    assert made - {"partitions"} == set(SCHEMAS), "the schema `partitions` holds parts of tables of raw"


def test_a_backup_of_a_release_that_summed_up_fewer_schemas_still_restores() -> None:
    row = TableSum(1, "5")
    compare("place", {"raw.a": row}, {"raw.a": row, "cases.b": row})
    for found in ({"raw.a": TableSum(2, "5")}, {}, {"raw.a": row, "raw.b": row}):
        with pytest.raises(UserError, match="does not restore"):
            compare("place", {"raw.a": row}, found)


def test_no_backup_is_kept_for_less_than_a_day(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="less than a day"):
        prune(FolderStore(tmp_path), NOW, 0)
