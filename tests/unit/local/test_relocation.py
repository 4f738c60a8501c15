"""A folder that was copied or moved: no process of the original is touched, and a stopped stack works again."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from flink_jobs.local import postgres, process, relocation
from flink_jobs.local.process import ProcessRecord
from flink_jobs.local.record import StackRecord
from flink_jobs.local.stack import Stack
from flink_jobs.settings import STACK_HOME, load_settings


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Path]:
    """The home of a stack of one process, which runs."""
    home = tmp_path / "a"
    (home / "logs").mkdir(parents=True)
    record = StackRecord(home / "stack.json", ports={"kafka": 29092}, taskmanagers=1)
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    command = process.Command("kafka", argv, home / "logs" / "kafka.log", {}, home)
    record.add(process.spawn(command, record.stack_id))
    yield home
    process.stop(list(record.processes.values()))


def of(home: Path) -> StackRecord:
    return StackRecord.load(home / "stack.json")


def only(home: Path) -> ProcessRecord:
    (found,) = of(home).processes.values()
    return found


def test_down_in_a_copied_folder_touches_no_process(original: Path) -> None:
    running, stack_id = only(original), of(original).stack_id
    copy = Path(shutil.copytree(original, original.with_name("b")))
    assert Stack(copy).status() == []
    assert not Stack(copy).is_up()
    assert Stack(copy).down(savepoint_limit_s=60) == []
    assert process.is_alive(running)
    assert of(original).stack_id == stack_id != of(copy).stack_id
    assert of(copy).origin == str(original)
    assert of(copy).ports == {"kafka": 29092}


def test_a_copy_of_a_copy_and_a_wiped_copy_touch_no_process(original: Path) -> None:
    running = only(original)
    second = Path(shutil.copytree(shutil.copytree(original, original.with_name("b")), original.with_name("c")))
    Stack(second).down(wipe=True)
    assert not second.exists()
    assert process.is_alive(running)
    assert Stack(original).down() == ["kafka"]
    assert not process.is_alive(running)


def test_a_copied_record_of_an_older_release_is_recognised_by_its_logs(original: Path) -> None:
    copy = Path(shutil.copytree(original, original.with_name("b")))
    for home in (original, copy):
        data = json.loads((home / "stack.json").read_text())
        del data["home"], data["origin"]
        (home / "stack.json").write_text(json.dumps(data))
    assert of(copy).processes == {}
    assert of(original).processes != {}


def test_a_folder_that_was_moved_while_its_processes_ran_is_refused(original: Path) -> None:
    moved = original.rename(original.with_name("b"))
    with pytest.raises(UserError, match=r"was moved from .*/a while its processes ran: kafka \(pid") as error:
        Stack(moved).down()
    assert "move it back to" in error.value.fix
    moved.rename(original)
    assert Stack(original).down() == ["kafka"]


def test_a_stopped_stack_may_be_moved(original: Path) -> None:
    Stack(original).down()
    moved = original.rename(original.with_name("b"))
    record = of(moved)
    assert (record.processes, record.origin, record.ports) == ({}, str(original), {"kafka": 29092})
    record.save()
    assert of(moved).origin == str(original), "the next `up` still knows where the database was"


def test_one_folder_under_two_names_is_one_stack(original: Path) -> None:
    alias = original.with_name("alias")
    alias.symlink_to(original)
    assert only(alias) == only(original)


def test_settings_of_another_folder_are_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "b", tmp_path / "a"
    here.mkdir()
    (here / "stack.env").write_text(f"{STACK_HOME}='{there}'\nSTREAMFLOW_FLINK_REST_URL='http://127.0.0.1:1'\n")
    with pytest.raises(UserError, match=r"was written for the stack in .*/a: its folder was moved or copied") as error:
        load_settings(here)
    assert "streamflow up" in error.value.fix


def test_the_database_of_a_moved_stack_is_taken_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root it may be outside the folder, in one named by the folder's path."""
    outside = {tmp_path / "a/postgres": tmp_path / "of-a", tmp_path / "b/postgres": tmp_path / "of-b"}
    monkeypatch.setattr(postgres, "data_folder", lambda preferred, _user: outside[preferred])
    (tmp_path / "of-a/data").mkdir(parents=True)
    (tmp_path / "of-a/data/postmaster.pid").touch()
    said: list[str] = []
    relocation.adopt_database(tmp_path / "b/postgres", tmp_path / "a/postgres", is_copy=True, say=said.append)
    assert "this copy begins with an empty database" in said[0]
    assert (tmp_path / "of-a/data").exists()
    relocation.adopt_database(tmp_path / "b/postgres", tmp_path / "a/postgres", is_copy=False, say=said.append)
    assert "Moving the database" in said[1]
    assert (tmp_path / "of-b/data").exists()
    assert not (tmp_path / "of-b/data/postmaster.pid").exists(), "it names a process of the original"
