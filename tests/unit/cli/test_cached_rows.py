"""``--cache`` and ``--processes``: a hit says so and gives the same rows; changed inputs are replayed again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flink_jobs.cards.card_files import read_events
from flink_jobs.cli import cached_rows, data_source, file_state, row_reports
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.errors import UserError
from ml.replay_processes import free_memory, usable_processes
from tests.unit.ml.test_replay_processes import assert_identical, own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAPPING = """
fields:
  transaction_id: id
  customer_id: cust
  amount: {column: amt, unit: major}
  event_time: {column: ts, format: unix_s}
label: {column: fraud, fraud_values: ["1"]}
"""
ROWS = [
    f"t{number},c{number % 7},{1704067200 + number * 60},{number % 50}.99,{int(number % 9 == 0)}"
    for number in range(300)
]
IN_FUTURE = "t900,c1,99999999999,1,0"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    lines: list[str] = []
    for module in (cached_rows, data_source, row_reports):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


def card_file(folder: Path, rows: list[str]) -> Path:
    path = folder / "cards.csv"
    path.write_text("id,cust,ts,amt,fraud\n" + "\n".join(rows) + "\n")
    (folder / "cards.mapping.yaml").write_text(MAPPING)
    return path


def choice(path: Path, cache: Path | None, *, skip_bad_rows: bool = False) -> DataChoice:
    return DataChoice(
        path, None, skip_bad_rows, from_decisions=False, since=None, until=None, labels_until=None, cache=cache
    )


def hits(said: list[str]) -> int:
    return sum("rows from the feature cache" in line for line in said)


def test_a_hit_says_so_and_gives_the_rows_of_the_replay(tmp_path: Path, said: list[str]) -> None:
    path, cache = card_file(tmp_path, ROWS), tmp_path / "cache"
    without = read_data(choice(path, None), own=own())
    first = read_data(choice(path, cache), own=own())
    assert hits(said) == 0
    second = read_data(choice(path, cache), own=own())
    assert hits(said) == 1
    assert said[-1].startswith("300 rows from the feature cache: ")
    assert second.sha256 == first.sha256 == without.sha256
    assert_identical(second.dataset, first.dataset)
    assert_identical(second.dataset, without.dataset)


def test_changed_rows_mapping_options_own_features_and_rules_are_replayed(tmp_path: Path, said: list[str]) -> None:
    path, cache = card_file(tmp_path, ROWS), tmp_path / "cache"
    read_data(choice(path, cache))
    read_data(choice(path, cache), own=own())
    read_data(choice(path, cache, skip_bad_rows=True))
    read_data(choice(path, cache), DetectionConfig(blacklist=Blacklist(customer=frozenset({"c1"}))))
    (tmp_path / "cards.mapping.yaml").write_text(MAPPING + "segment: cust\n")
    with_segment = read_data(choice(path, cache)).dataset
    assert with_segment.segment.text(0) == "c0"
    card_file(tmp_path, [*ROWS, "t300,c1,1704090000,3,0"])
    assert len(read_data(choice(path, cache)).dataset) == 301
    assert hits(said) == 0


def test_a_hit_repeats_what_was_said_about_rows_that_are_left_out(tmp_path: Path, said: list[str]) -> None:
    path, cache = card_file(tmp_path, [*ROWS, "t900,c1,1704090000,x,0", "t901,c1,1704090000,-1,0"]), tmp_path / "cache"
    first = read_data(choice(path, cache, skip_bad_rows=True)).dataset
    replayed = [line for line in said if "left out" in line or "skipped" in line or "first rejected" in line]
    said.clear()
    second = read_data(choice(path, cache, skip_bad_rows=True)).dataset
    assert hits(said) == 1
    assert said[1:] == replayed
    assert len(replayed) == 4
    assert second.rejected == first.rejected == 1


def test_rows_in_the_future_are_not_kept(tmp_path: Path, said: list[str]) -> None:
    path, cache = card_file(tmp_path, [*ROWS, IN_FUTURE]), tmp_path / "cache"
    read_data(choice(path, cache))
    assert any("are not kept: rows in the future" in line for line in said)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("what", ["cards.csv", "cards.mapping.yaml"])
@pytest.mark.parametrize("folder", [None, "cache"])
def test_a_file_that_changes_while_it_is_read_is_an_error_and_not_kept(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, what: str, folder: str | None
) -> None:
    path, cache = card_file(tmp_path, ROWS), None if folder is None else tmp_path / folder
    changing_reads(monkeypatch, lambda: (tmp_path / what).write_text((tmp_path / what).read_text() + "\n"))
    with pytest.raises(UserError, match="changed while it was read"):
        read_data(choice(path, cache))
    assert cache is None or list(cache.iterdir()) == []
    assert hits(said) == 0


def test_a_file_that_changes_behind_its_digest_is_not_kept_under_it(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the new content were once kept under the digest of the old one."""
    path, cache = card_file(tmp_path, ROWS), tmp_path / "cache"
    taken, old = file_state._sha256, path.read_bytes()

    def late(file: Path) -> str:
        found = taken(file)
        card_file(tmp_path, [*ROWS, "t300,c1,1704090000,3,0"])
        return found

    monkeypatch.setattr(file_state, "_sha256", late)
    with pytest.raises(UserError, match="changed while it was read"):
        read_data(choice(path, cache))
    monkeypatch.setattr(file_state, "_sha256", taken)
    path.write_bytes(old)
    assert len(read_data(choice(path, cache)).dataset) == 300
    assert hits(said) == 0


def test_a_file_with_a_new_time_and_the_same_content_is_kept(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = card_file(tmp_path, ROWS), tmp_path / "cache"
    changing_reads(monkeypatch, lambda: os.utime(path, ns=(1, 1)))
    read_data(choice(path, cache))
    read_data(choice(path, cache))
    assert hits(said) == 1


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("what", ["cards.csv", "cards.mapping.yaml"])
def test_a_file_that_is_gone_when_it_was_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = card_file(tmp_path, ROWS)
    changing_reads(monkeypatch, (tmp_path / what).unlink)
    with pytest.raises(UserError, match="cannot be read"):
        read_data(choice(path, tmp_path / "cache"))


def changing_reads(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Let something happen when the rows of the card file have been read."""

    def changing(*given: object) -> Iterator[object]:
        yield from read_events(*given)  # type: ignore[arg-type]
        change()

    monkeypatch.setattr(data_source, "read_events", changing)


def test_a_damaged_file_is_reported_and_replaced(tmp_path: Path, said: list[str]) -> None:
    path, cache = card_file(tmp_path, ROWS), tmp_path / "cache"
    first = read_data(choice(path, cache)).dataset
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    assert_identical(read_data(choice(path, cache)).dataset, first)
    assert any("is damaged" in line and "replayed again" in line for line in said)
    assert hits(said) == 0
    assert_identical(read_data(choice(path, cache)).dataset, first)
    assert hits(said) == 1


def test_a_folder_that_cannot_be_used_is_an_error_before_the_replay(tmp_path: Path, said: list[str]) -> None:
    path = card_file(tmp_path, ROWS)
    with pytest.raises(UserError, match="--cache cannot be used"):
        read_data(choice(path, path / "cache"))
    assert said == []


def test_the_smaller_limit_of_memory_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       24000 kB\nMemAvailable:       8000 kB\n")
    assert free_memory(meminfo, tmp_path) == 8_000 * 1024
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert free_memory(meminfo, tmp_path) == 4_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(meminfo, tmp_path) == 8_000 * 1024
    assert free_memory(tmp_path / "none", tmp_path / "none") is None


def test_little_memory_leaves_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for free, expected in ((100, 1), (2 * 512 * 1024**2, 2), (2**40, 4), (None, 4)):
        monkeypatch.setattr("ml.replay_processes.free_memory", lambda free=free: free)
        assert usable_processes() == expected
