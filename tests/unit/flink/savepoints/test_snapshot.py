"""Damaged, foreign and unsupported savepoints: each is refused with an error that names the problem."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.core.control import config as config_module
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints import check
from flink_jobs.flink.savepoints.check import check_savepoint, obstacles
from flink_jobs.flink.savepoints.java_bytes import DamagedError, JavaBytes
from flink_jobs.flink.savepoints.metadata import parse_metadata
from flink_jobs.flink.savepoints.snapshot import local_path, open_snapshot
from tests import golden


@pytest.fixture(scope="module")
def savepoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest golden savepoint; not to be changed."""
    return golden.unpack(golden.GOLDEN[-1], tmp_path_factory.mktemp("golden"))


@pytest.fixture
def own(savepoint: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(savepoint, tmp_path / "own"))


def keyed_file(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda file: file.stat().st_size)


def written_text(text: str) -> bytes:
    """Write text as Flink's StringSerializer does."""

    def variable(number: int) -> bytes:
        out = bytearray()
        while number >= 0x80:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes([*out, number])

    units = struct.unpack(f"<{len(text.encode('utf-16-le')) // 2}H", text.encode("utf-16-le"))
    return variable(len(units) + 1) + b"".join(map(variable, units))


@given(st.text())
def test_text_is_read_as_flink_writes_it(text: str) -> None:
    source = JavaBytes(written_text(text))
    assert source.text() == text
    assert source.is_at_end


def test_absent_text_is_none() -> None:
    assert JavaBytes(b"\0").text() is None


@pytest.mark.parametrize("data", [b"", b"\x05a", b"\xff\xff\xff\xff\xff\x01"], ids=["empty", "cut", "endless"])
def test_text_that_ends_early_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedError):
        JavaBytes(data).text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_metadata_that_is_cut_is_damaged(savepoint: Path, data: st.DataObject) -> None:
    whole = (savepoint / "_metadata").read_bytes()
    # The last part is Java's own record of how the savepoint was asked for, which nobody reads.
    end = whole.index(b"\xac\xed\x00\x05")
    with pytest.raises(DamagedError):
        parse_metadata(whole[: data.draw(st.integers(0, end - 1))])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_a_changed_byte_of_metadata_raises_nothing_else(savepoint: Path, data: st.DataObject) -> None:
    whole = bytearray((savepoint / "_metadata").read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DamagedError):
        parse_metadata(bytes(whole))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_is_named(own: Path, share: float) -> None:
    file = keyed_file(own)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=f"is damaged: {file.name} has") as told, open_snapshot(str(own)) as snapshot:
        list(snapshot.customers())
    assert "another" in told.value.fix
    with pytest.raises(UserError, match="is damaged"):
        check_savepoint(str(own), "detect", "thread")


@pytest.mark.parametrize("at", [0, 5, 40, 3_000, -200, -1])
def test_a_file_that_is_overwritten_raises_nothing_else(own: Path, at: int) -> None:
    file = keyed_file(own)
    content = bytearray(file.read_bytes())
    content[at:] = b"\xa5" * len(content[at:])
    file.write_bytes(content)
    with open_snapshot(str(own)) as snapshot, pytest.raises(UserError, match=r"damaged|cannot be read"):
        list(snapshot.customers())


def test_a_missing_file_is_named(own: Path) -> None:
    keyed_file(own).unlink()
    with pytest.raises(UserError, match=r"is incomplete: .* is missing"):
        check_savepoint(str(own), "detect", "thread")


def test_paths_from_flink_and_from_users_are_accepted(savepoint: Path) -> None:
    for path in (str(savepoint), savepoint.as_uri(), f"file:{savepoint}", str(savepoint / "_metadata")):
        with open_snapshot(path) as snapshot:
            assert snapshot.folder == savepoint
    assert local_path("file:///a%20b") == Path("/a b")
    with pytest.raises(UserError, match="is not in a file system"):
        local_path("s3://bucket/savepoint")


@pytest.mark.parametrize(
    "content", [None, b"", b"\0" * 4, b"PK\3\4 a zip file, by mistake", b"\x49\x60\x67\x2d\0\0\0\x09"]
)
def test_a_folder_without_a_savepoint_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "_metadata").write_bytes(content)
    with pytest.raises(UserError, match=r"no savepoint at|cannot be read"), open_snapshot(str(tmp_path)):
        pass


def test_flink_alone_checks_a_savepoint_that_this_machine_cannot_read(tmp_path: Path) -> None:
    check_savepoint("s3://bucket/savepoint", "detect", "thread")
    check_savepoint("file:/on/the/cluster/savepoint-1", "detect", "thread")
    with pytest.raises(UserError, match="no savepoint at"):
        check_savepoint(str(tmp_path / "savepoint-1"), "detect", "thread")


def test_from_one_mode_to_the_other_is_refused(savepoint: Path, tmp_path: Path) -> None:
    """Guards a silent loss: the job would start, and know no customer."""
    in_process = golden.unpack(golden.PROCESS_MODE, tmp_path)
    for folder, written_in, other in ((savepoint, "thread", "process"), (in_process, "process", "thread")):
        check_savepoint(str(folder), "detect", written_in)
        with pytest.raises(UserError, match=f"was written in {written_in} mode; in {other} mode") as told:
            check_savepoint(str(folder), "detect", other)
        assert f"STREAMFLOW_EXECUTION_MODE={written_in}" in told.value.fix


def test_the_savepoint_of_another_job_is_refused(savepoint: Path) -> None:
    with pytest.raises(UserError, match=r"the detect job wrote .*, not the archive job"):
        check_savepoint(str(savepoint), "archive", "thread")


def test_state_of_an_operator_that_is_gone_is_refused(savepoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tuple(uid for uid in check.UIDS["detect"] if uid != "audit-sink")
    monkeypatch.setitem(check.UIDS, "detect", kept)
    with pytest.raises(UserError, match=r"holds state of .*audit-sink, which this release's detect job does not have"):
        check_savepoint(str(savepoint), "detect", "thread")


def test_another_number_of_key_groups_is_refused(savepoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flink_jobs.contracts.uids.MAX_PARALLELISM", 256)
    with pytest.raises(UserError, match="has 128 key groups, this job 256"):
        check_savepoint(str(savepoint), "detect", "thread")


def test_what_a_newer_release_wrote_is_refused(savepoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older release on a newer savepoint: each customer would be set aside, one dead letter a transaction."""
    monkeypatch.setattr(check, "NEWEST_VERSION", 1)
    monkeypatch.setattr(config_module, "CONFIG_SCHEMA_VERSION", 1)
    with open_snapshot(str(savepoint)) as snapshot:
        [newer] = obstacles(snapshot, "detect", "thread")
        assert "configuration schema 2 in the savepoint is newer than 1" in newer.what
        monkeypatch.undo()
        monkeypatch.setattr(check, "NEWEST_VERSION", 1)
        [newer] = obstacles(snapshot, "detect", "thread")
    assert "holds customers of state version 3, this release reads up to 1" in newer.what


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["savepoint", *arguments])
    return done.exit_code, done.output


def test_inspect_counts_all_and_shows_some(savepoint: Path) -> None:
    code, told = invoke("inspect", str(savepoint), "--limit", "2", "--output", "json")
    found = json.loads(told)
    assert code == 0
    assert (found["customers"], len(found["shown"])) == (40, 2)
    assert found["state_versions"] == {"3": 40}
    assert found["config"]["revision"] == 1
    one = found["shown"][0]
    assert sum(one["hours_utc"]) == one["transactions"] == sum(item["count"] for item in one["amounts"].values())

    code, told = invoke("inspect", str(savepoint), "--limit", "2")
    assert code == 0
    assert "40 customers (version 3: 40)" in told
    assert "... 38 more (--limit)" in told


def test_inspect_shows_one_customer_in_full(savepoint: Path) -> None:
    name = str(golden.transactions_of(golden.GOLDEN[-1])[0]["customer_id"])
    code, told = invoke("inspect", str(savepoint), "--customer", name)
    assert code == 0
    assert told.startswith(f"customer {name}: state version 3")
    assert "usual amounts: EUR" in told
    with pytest.raises(UserError, match="customer nobody is not in"):
        CliRunner().invoke(
            app, ["savepoint", "inspect", str(savepoint), "--customer", "nobody"], catch_exceptions=False
        )


def test_inspect_reports_a_customer_with_damaged_bytes(own: Path) -> None:
    """The damage is within one customer's own bytes, so all the others are still shown."""
    with open_snapshot(str(own)) as snapshot:
        blob = next(snapshot.customers()).blob
    file = keyed_file(own)
    file.write_bytes(file.read_bytes().replace(blob, blob[:-1] + bytes([blob[-1] ^ 0xFF])))
    code, told = invoke("inspect", str(own), "--limit", "40", "--output", "json")
    assert code == 0
    assert [item["problem"] for item in json.loads(told)["shown"] if "problem" in item] == [
        f"checksum of {len(blob)} bytes differs"
    ]


def test_check_shows_operators_and_ends_with_one_when_refused(savepoint: Path) -> None:
    code, told = invoke("check", str(savepoint), "--mode", "thread")
    assert code == 0
    assert "detect can resume from it" in told
    assert "fraud-detector" in told
    code, told = invoke("check", str(savepoint), "--mode", "process", "--output", "json")
    assert code == 1
    assert json.loads(told)["can_go_on"] is False


def test_list_names_the_savepoints_of_a_folder(savepoint: Path, tmp_path: Path) -> None:
    shutil.copytree(savepoint, tmp_path / "savepoint-good")
    cut = Path(shutil.copytree(savepoint, tmp_path / "savepoint-cut"))
    keyed_file(cut).unlink()
    (tmp_path / "savepoint-other").mkdir()
    (tmp_path / "savepoint-other" / "_metadata").write_bytes(b"nothing")
    code, told = invoke("list", str(tmp_path), "--output", "json")
    found = {item["name"]: item for item in json.loads(told)}
    assert code == 0
    assert (found["savepoint-good"]["job"], found["savepoint-good"]["kind"]) == ("detect", "savepoint")
    assert found["savepoint-good"]["problem"] is None
    assert "is incomplete" in found["savepoint-cut"]["problem"]
    assert "cannot be read" in found["savepoint-other"]["problem"]
