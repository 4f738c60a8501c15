"""Files of the warehouse: seeds are written from the code, and every SQL file has a header."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from flink_jobs.warehouse import seeds
from flink_jobs.warehouse.paths import ANALYSES, QUALITY_CHECKS
from flink_jobs.warehouse.queries import read_sql_files


def test_the_seeds_agree_with_the_code() -> None:
    assert seeds.stale() == []


def test_a_stale_seed_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "currency_units.csv").write_text(seeds.currency_units() + "XXX,100\n")
    (tmp_path / "reason_codes.csv").write_text(seeds.reason_codes())
    assert seeds.stale(tmp_path) == ["currency_units.csv"]
    assert seeds.main([]) == 0


def test_every_query_has_a_header() -> None:
    questions, checks = read_sql_files(ANALYSES), read_sql_files(QUALITY_CHECKS)
    assert all(query.title.endswith("?") and query.severity is None for query in questions.values())
    assert {query.severity for query in checks.values()} == {"error", "warn"}


@pytest.mark.parametrize(
    "text", ["select 1", "-- Check: no severity\nselect 1", "-- Check: odd\n-- Severity: fatal\nselect 1"]
)
def test_a_query_without_a_header_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.sql").write_text(text)
    with pytest.raises(UserError, match="has no header"):
        read_sql_files(tmp_path)


def test_a_folder_without_queries_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no queries"):
        read_sql_files(tmp_path)
