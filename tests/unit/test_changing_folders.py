"""Folders whose content goes between its listing and the next call."""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from flink_jobs.changing_folders import delete_below, files_below, paths_in, size_below, statuses
from flink_jobs.cli.savepoint_commands import app
from flink_jobs.flink.savepoints.cleanup import stored
from flink_jobs.flink.savepoints.latest import completed
from flink_jobs.warehouse.lake_files import LakeFolder
from tests.unit.flink.test_resume import Folders

Racer = Callable[[Path], None]
real_scandir = os.scandir


def delete(path: Path) -> None:
    """Delete a file, or a folder with its files, without a listing by ``os.scandir``."""
    if path.is_dir():
        for name in os.listdir(path):  # noqa: PTH208 - Path.iterdir may use os.scandir
            delete(path / name)
        path.rmdir()
    else:
        path.unlink()


class Listing:
    """The entries of a folder, as ``os.scandir`` returns them; marked paths are deleted after the listing."""

    def __init__(self, marked: set[Path], folder: str | Path | int) -> None:
        with real_scandir(folder) as entries:
            self._entries: Iterator[os.DirEntry[str]] = iter(list(entries))
        listed = Path(f"/proc/self/fd/{folder}").readlink() if isinstance(folder, int) else Path(folder)
        for path in {item for item in marked if item.parent == listed}:
            marked.remove(path)
            delete(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def close(self) -> None:
        """Have nothing to close."""


@pytest.fixture
def goes_after_listing(monkeypatch: pytest.MonkeyPatch) -> Racer:
    """Return a function that names a path: another process deletes it right after the next listing of its folder."""
    marked: set[Path] = set()
    monkeypatch.setattr(os, "scandir", partial(Listing, marked))
    return marked.add


def tree(root: Path) -> Path:
    """Return a folder with files of 1, 2, 4 and 8 bytes, of which three are in folders below it."""
    for number, name in enumerate(("000117.sst", "chk-1/000118.sst", "chk-2/000119.sst", "chk-2/.hidden")):
        path = root / "db" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 2**number)
    return root / "db"


@pytest.mark.parametrize(("gone", "left"), [("chk-1/000118.sst", 13), ("chk-2", 3), ("000117.sst", 14), ("", 15)])
def test_the_size_leaves_out_what_goes(tmp_path: Path, goes_after_listing: Racer, gone: str, left: int) -> None:
    folder = tree(tmp_path)
    if gone:
        goes_after_listing(folder / gone)
    assert size_below(folder) == left


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert (size_below(missing), paths_in(missing, "*"), list(files_below(missing))) == (0, [], [])
    delete_below(missing)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "scandir", Mock(side_effect=PermissionError))
    with pytest.raises(PermissionError):
        size_below(tmp_path)


def test_listed_paths_that_go_have_no_status(tmp_path: Path, goes_after_listing: Racer) -> None:
    folder = tree(tmp_path)
    goes_after_listing(folder / "chk-2" / "000119.sst")
    listed = paths_in(folder, "chk-*/*.sst")
    assert [path.name for path in listed] == ["000118.sst", "000119.sst"]
    assert [(path.name, status.st_size) for path, status in statuses(listed)] == [("000118.sst", 2)]


@pytest.mark.parametrize("gone", ["chk-2", "chk-2/000119.sst"])
def test_two_processes_may_delete_one_folder(tmp_path: Path, goes_after_listing: Racer, gone: str) -> None:
    folder = tree(tmp_path)
    goes_after_listing(folder / gone)
    delete_below(folder)
    assert not folder.exists()


@pytest.mark.parametrize("gone", ["checkpoints/a", "checkpoints/a/chk-1", "savepoints/savepoint-1"])
def test_snapshots_are_listed_while_flink_deletes_one(tmp_path: Path, goes_after_listing: Racer, gone: str) -> None:
    folders = Folders(tmp_path)
    folders.checkpoint("a", 1, 10)
    folders.checkpoint("b", 2, 20)
    folders.savepoint("1", 30)
    folders.savepoint("2", 40)
    goes_after_listing(tmp_path / gone)
    before = completed(folders.checkpoints, folders.savepoints)[0]
    assert tmp_path / gone not in before
    assert len(before) == 3
    goes_after_listing(tmp_path / "savepoints" / "savepoint-2")
    assert {item.folder.name for item in stored(folders.place(), dict)} >= {"b"}


def test_a_folder_of_a_job_that_starts_during_the_listing_stays(tmp_path: Path) -> None:
    """Regression: jobs were asked for before the listing, so the folder of a new job was free to be deleted."""
    folders = Folders(tmp_path)

    def running() -> dict[str, str | None]:
        folders.incomplete("new", 1, 0)
        return {"new": None}

    folders.incomplete("old", 1, 0)
    assert [(item.folder.name, item.kept) for item in stored(folders.place(), running)] == [
        ("old", "it may be in progress: a job runs")
    ]


def test_savepoint_list_leaves_out_a_savepoint_that_goes(tmp_path: Path, goes_after_listing: Racer) -> None:
    folders = Folders(tmp_path)
    folders.savepoint("1", 30)
    folders.savepoint("2", 40)
    goes_after_listing(folders.savepoints / "savepoint-1")
    result = CliRunner().invoke(app, ["list", str(folders.savepoints), "--output", "json"], catch_exceptions=False)
    assert [item["name"] for item in json.loads(result.stdout)] == ["savepoint-2"]


def test_the_lake_is_listed_while_files_are_deleted(tmp_path: Path, goes_after_listing: Racer) -> None:
    day = tmp_path / "decisions" / "loaded_on=2024-01-01"
    day.mkdir(parents=True)
    for name in ("part-1", "part-2"):
        (day / name).write_bytes(b"rows")
    goes_after_listing(day / "part-1")
    assert LakeFolder(tmp_path).sizes("decisions") == {"decisions/loaded_on=2024-01-01/part-2": 4}
