"""Deletion of old backups. ``tests/orchestration`` shows on a real database that backups restore."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.errors import UserError
from flink_jobs.warehouse.backups import prune


@given(number=st.integers(min_value=0, max_value=6), keep=st.integers(min_value=1, max_value=8))
def test_the_newest_stay(number: int, keep: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("backups")
    names = [f"streamflow-2026010{day}T014300Z" for day in range(1, number + 1)]
    for name in names:
        (folder / f"{name}.dump").touch()
        (folder / f"{name}.json").touch()
    (folder / "notes.txt").touch()
    assert prune(folder, keep) == names[: max(0, number - keep)]
    left = {path.name for path in folder.iterdir()} - {"notes.txt"}
    assert left == {f"{name}.{end}" for name in names[-keep:] for end in ("dump", "json")}


def test_one_is_always_kept(tmp_path: Path) -> None:
    (tmp_path / "streamflow-20260101T014300Z.dump").touch()
    with pytest.raises(UserError, match="cannot be deleted"):
        prune(tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 1
