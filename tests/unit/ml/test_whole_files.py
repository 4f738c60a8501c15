"""Files that other processes read while they are written: complete or absent, and never over another writer's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from ml.dataset import build_dataset
from ml.evaluation.report import card_draft
from ml.evaluation.report.card_draft import CARD_NAME, write_card_draft
from ml.feature_table import feature_table, write_table
from ml.whole_files import write_whole
from tests.unit.ml.synthetic import NOW_MS, events


def fails(path: Path) -> None:
    path.write_bytes(b"half a fi")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("replaces", [True, False])
def test_a_file_appears_when_it_is_complete(tmp_path: Path, *, replaces: bool) -> None:
    path = tmp_path / "card.md"
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, fails, replaces=replaces)
    assert list(tmp_path.iterdir()) == []
    write_whole(path, lambda unfinished: unfinished.write_text("first"), replaces=replaces)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("first", 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_keeps_the_whole_old_file(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("old" * 1000)
    with path.open() as file:
        start = file.read(10)
        write_whole(path, lambda unfinished: unfinished.write_text("new"), replaces=True)
        assert start + file.read() == "old" * 1000
    assert path.read_text() == "new"


@pytest.mark.parametrize("has_links", [True, False])
def test_the_file_of_another_writer_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool) -> None:
    if not has_links:

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "table.csv"

    def slow(unfinished: Path) -> None:
        unfinished.write_text("mine")
        path.write_text("theirs")

    with pytest.raises(FileExistsError):
        write_whole(path, slow, replaces=False)
    assert path.read_text() == "theirs"
    path.unlink()
    write_whole(path, lambda unfinished: unfinished.write_text("mine"), replaces=False)
    assert path.read_text() == "mine"


def test_two_tables_of_one_name_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both once wrote to the same unfinished file, and the later one replaced the earlier one without a word."""
    path = tmp_path / "rows.csv"
    small, large = (feature_table(build_dataset(events(number), NOW_MS)) for number in (20, 200))
    written = Path.chmod

    def other(unfinished: Path, mode: int) -> None:
        monkeypatch.setattr(Path, "chmod", written)
        write_table(large, path)
        written(unfinished, mode)

    monkeypatch.setattr(Path, "chmod", other)
    with pytest.raises(UserError, match="exists"):
        write_table(small, path)
    assert len(path.read_text().splitlines()) == large.num_rows + 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_that_could_not_be_written_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_draft, "card_draft", lambda *_: "# Model card (draft): v")
    written = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        written(path, content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    assert write_card_draft(tmp_path, manifest=None) is None  # type: ignore[arg-type]
    monkeypatch.setattr(Path, "write_bytes", written)
    assert list(tmp_path.iterdir()) == []
    assert write_card_draft(tmp_path, manifest=None) == tmp_path / CARD_NAME  # type: ignore[arg-type]
