"""Where a job begins: its newest completed snapshot; never without state unless the user asks for that."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flink_jobs.contracts import uids
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.errors import UserError
from flink_jobs.flink import resume
from flink_jobs.flink.resume import choose_start, refuse_lost_histories
from flink_jobs.flink.savepoints.cleanup import RECORD, delete, stored
from flink_jobs.flink.savepoints.entities import entities_without_history
from flink_jobs.flink.savepoints.latest import Place, newest
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.lag import ConsumerLag
from tests import golden

PREFIX = golden.prefix_of(golden.GOLDEN[-1])
CUSTOMERS = 40


class Folders:
    """The checkpoint and savepoint folders of a stack."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoints, self.savepoints = root / "checkpoints", root / "savepoints"
        self.checkpoints.mkdir()
        self.savepoints.mkdir()

    def place(self, prefix: str = PREFIX, mode: str = "thread") -> Place:
        return Place(self.checkpoints.as_uri(), self.savepoints.as_uri(), prefix, mode)

    def savepoint(self, name: str, age_s: float, archive: Path = golden.GOLDEN[-1]) -> Path:
        return self._put(self.savepoints / f"savepoint-{name}", age_s, archive)

    def checkpoint(self, job_id: str, number: int, age_s: float) -> Path:
        """Put a snapshot where a checkpoint would be; its content is a savepoint's."""
        return self._put(self.checkpoints / job_id / f"chk-{number}", age_s, golden.GOLDEN[-1])

    def incomplete(self, job_id: str, number: int, age_s: float) -> Path:
        folder = self.checkpoints / job_id / f"chk-{number}"
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"some state")
        os.utime(folder, (time.time() - age_s,) * 2)
        return folder

    def _put(self, folder: Path, age_s: float, archive: Path) -> Path:
        folder.parent.mkdir(exist_ok=True)
        golden.unpack(archive, self.root / "unpacked").rename(folder)
        os.utime(folder / "_metadata", (time.time() - age_s,) * 2)
        return folder


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_the_newest_snapshot_is_taken_and_reported_with_its_age(folders: Folders) -> None:
    folders.savepoint("old", 7_200)
    wanted = folders.savepoint("new", 100)
    folders.checkpoint("a" * 32, 7, 400)
    start = choose_start("detect", folders.place())
    assert start.savepoint == wanted.as_uri()
    assert start.lines == (f"detect resumes from its newest savepoint, 2 min old: {wanted.as_uri()}",)
    assert start.as_dict()["resumes_from"] == wanted.as_uri()


def test_a_checkpoint_of_any_earlier_job_id_counts(folders: Folders) -> None:
    folders.savepoint("old", 7_200)
    wanted = folders.checkpoint("b" * 32, 12, 5)
    assert choose_start("detect", folders.place()).savepoint == wanted.as_uri()


def test_a_snapshot_that_did_not_complete_is_skipped_and_reported(folders: Folders) -> None:
    wanted = folders.checkpoint("a" * 32, 7, 60)
    folders.incomplete("a" * 32, 6, 90)
    folders.incomplete("a" * 32, 8, 10)
    empty = folders.incomplete("a" * 32, 9, 5)
    (empty / "_metadata").touch()
    start = choose_start("detect", folders.place())
    assert start.savepoint == wanted.as_uri()
    assert start.lines[1].startswith("Skipped, because they did not complete: chk-8, chk-9 (")


def test_snapshots_of_another_job_and_of_another_topic_prefix_are_not_taken(folders: Folders) -> None:
    folders.savepoint("detect", 5)
    assert newest("archive", folders.place()) is None
    assert newest("detect", folders.place(prefix="golden-v")) is None
    assert newest("detect", folders.place(prefix=PREFIX.removeprefix("golden-"))) is None
    start = choose_start("detect", folders.place(prefix="other"))
    assert start.savepoint is None
    assert start.lines == ("detect starts without state: it has no completed checkpoint or savepoint yet.",)


@pytest.mark.parametrize("damage", ["file", "metadata", "mode"])
def test_a_newest_snapshot_that_cannot_be_restored_is_refused_and_no_older_one_taken(
    folders: Folders, damage: str
) -> None:
    folders.savepoint("good", 7_200)
    bad = folders.savepoint("bad", 5, golden.PROCESS_MODE if damage == "mode" else golden.GOLDEN[-1])
    prefix = PREFIX
    if damage == "file":
        next(path for path in bad.iterdir() if path.name != "_metadata").unlink()
    elif damage == "metadata":
        content = (bad / "_metadata").read_bytes()
        (bad / "_metadata").write_bytes(content[: len(content) // 2])
    else:
        prefix = _prefix_of(bad)
    with pytest.raises(UserError, match=r"the newest snapshot cannot be restored: .*savepoint-bad") as error:
        choose_start("detect", folders.place(prefix))
    assert "streamflow submit detect --from-savepoint PATH" in error.value.fix
    assert "streamflow submit detect --fresh" in error.value.fix


def _prefix_of(folder: Path) -> str:
    content = (folder / "_metadata").read_bytes()
    end = content.index(b".transactions")
    start = content.rindex(b"\0", 0, end) + 2
    return content[start:end].decode()


def test_folders_that_cannot_be_searched_are_refused(folders: Folders) -> None:
    uri = folders.savepoints.as_uri()
    with pytest.raises(UserError, match="s3://state/checkpoints, which this command cannot search") as error:
        choose_start("detect", Place("s3://state/checkpoints", uri, PREFIX))
    assert "--from-savepoint" in error.value.fix
    with pytest.raises(UserError, match="is not on this machine"):
        choose_start("detect", Place((folders.root / "none").as_uri(), uri, PREFIX))


@pytest.mark.parametrize(("group", "is_refused"), [(f"{PREFIX}-detect", True), ("other-detect", False)])
def test_a_detector_that_has_committed_offsets_is_not_started_without_a_snapshot(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, group: str, *, is_refused: bool
) -> None:
    lags = [ConsumerLag(group, f"{PREFIX}.transactions", 1_200, 1_500), ConsumerLag(group, f"{PREFIX}.control", 3, 3)]
    monkeypatch.setattr(resume, "consumer_lag", lambda _: lags)
    broker = Broker("nowhere:1")
    if is_refused:
        with pytest.raises(
            UserError, match=r"has read .* up to 1,200 offsets before, but there is no snapshot"
        ) as error:
            refuse_lost_histories(choose_start("detect", folders.place()), folders.place(), broker)
        assert "--fresh" in error.value.fix
    else:
        refuse_lost_histories(choose_start("detect", folders.place()), folders.place(), broker)
    refuse_lost_histories(choose_start("archive", folders.place()), folders.place(), broker)
    folders.savepoint("good", 30)
    refuse_lost_histories(choose_start("detect", folders.place()), folders.place(), broker)


def test_fresh_counts_the_customers_that_it_leaves_behind(folders: Folders) -> None:
    folders.savepoint("good", 30)
    start = choose_start("detect", folders.place(), fresh=True)
    assert start.savepoint is None
    assert start.left_behind == CUSTOMERS
    assert "The states of 40 customers are left behind." in start.lines[0]


def test_fresh_says_why_it_cannot_count(folders: Folders) -> None:
    bad = folders.savepoint("bad", 30)
    next(path for path in bad.iterdir() if path.name != "_metadata").unlink()
    (line,) = choose_start("detect", folders.place(), fresh=True).lines
    assert "It may leave state behind: the newest snapshot cannot be restored" in line


def test_fresh_without_any_snapshot(folders: Folders) -> None:
    (line,) = choose_start("detect", folders.place(), fresh=True).lines
    assert line == "detect starts without state (--fresh); no earlier state was found."


def test_a_named_savepoint_is_taken_without_a_search() -> None:
    start = choose_start("detect", Place("s3://a", "s3://b", PREFIX), savepoint="s3://b/savepoint-1")
    assert (start.savepoint, start.uses_settings_model) == ("s3://b/savepoint-1", False)


def test_the_settings_name_the_model_unless_the_snapshot_does(folders: Folders) -> None:
    folders.savepoint("good", 30)
    assert choose_start("detect", folders.place()).uses_settings_model


def test_the_newest_snapshots_and_those_in_use_may_not_be_deleted(folders: Folders) -> None:
    for number in range(1, 6):
        folders.savepoint(str(number), number * 100)
    folders.checkpoint("a" * 32, 1, 50)
    folders.incomplete("c" * 32, 3, 10)
    running = {"a" * 32: (folders.savepoints / "savepoint-5").as_uri()}
    found = {item.folder.name: item.kept for item in stored(folders.place(), lambda: running, keep=2)}
    assert found == {
        "a" * 32: "its job runs",
        "savepoint-1": "one of the newest 2 of detect",
        "savepoint-2": "",
        "savepoint-3": "",
        "savepoint-4": "",
        "savepoint-5": "a running job was started from it",
        "c" * 32: "it may be in progress: a job runs",
    }
    other = {item.kept for item in stored(folders.place("other"), dict) if item.kind == "savepoint"}
    assert other == {"it belongs to another topic prefix"}


def test_a_deletion_is_recorded_and_touches_nothing_else(folders: Folders) -> None:
    for number in range(1, 4):
        folders.savepoint(str(number), number * 100)
    folders.incomplete("c" * 32, 3, 10)
    gone = list(delete(stored(folders.place(), dict, keep=1), folders.savepoints))
    assert [item.folder.name for item in gone] == ["c" * 32, "savepoint-2", "savepoint-3"]
    assert [path.name for path in sorted(folders.savepoints.iterdir())] == [RECORD, "savepoint-1"]
    lines = (folders.savepoints / RECORD).read_text().splitlines()
    assert len(lines) == 3
    assert '"kind": "incomplete"' in lines[0]
    assert list(folders.checkpoints.iterdir()) == []


def test_a_snapshot_that_cannot_be_read_is_never_deleted(folders: Folders) -> None:
    bad = folders.savepoint("bad", 500)
    (bad / "_metadata").write_bytes(b"nonsense")
    folders.savepoint("good", 5)
    kept = {item.folder.name: item.kept for item in stored(folders.place(), dict, keep=1)}
    assert kept["savepoint-bad"].startswith("it cannot be read")


def test_entities_without_history_in_a_savepoint_are_named(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    savepoint = folders.savepoint("1", 5).as_uri()
    everyone = tuple(Entity)
    assert entities_without_history(savepoint, everyone) is None, "the job of merchants did not write it"
    assert entities_without_history("s3://bucket/savepoint-1", everyone) is None
    assert entities_without_history((folders.root / "nothing").as_uri(), everyone) is None
    # Keys of customers have the form of keys of merchants.
    monkeypatch.setattr(uids, "MERCHANTS", uids.DETECTOR)
    monkeypatch.setattr(uids, "MERCHANT_STATE", uids.CUSTOMER_STATE)
    assert entities_without_history(savepoint, everyone) == (Entity.TERMINAL, Entity.DEVICE, Entity.CARD)
    assert entities_without_history(savepoint, (Entity.MERCHANT,)) == ()
    place = replace(folders.place(), entities=(Entity.MERCHANT, Entity.CARD))
    lines = choose_start("merchants", place, savepoint=savepoint).lines
    assert "it holds no history of card: models with such inputs give no score until" in lines[-1]
    assert "submit merchants --fresh" in lines[-1]
    assert len(choose_start("merchants", replace(place, entities=(Entity.MERCHANT,)), savepoint=savepoint).lines) == 1
    assert "cannot be read" in choose_start("merchants", place, savepoint="s3://bucket/savepoint-1").lines[-1]
    assert len(choose_start("detect", place, savepoint=savepoint).lines) == 1
