"""The cache folder that several processes share: each read gives the rows that were written, or none."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from flink_jobs.core.features.entity_risk import RISK_NAMES, Entity
from ml.dataset import build_dataset
from ml.feature_cache import FeatureCache
from ml.kept_files import DamagedCacheError, KeptFiles
from ml.risk_cache import RiskCache
from tests.unit.ml.synthetic import NOW_MS, events
from tests.unit.ml.test_replay_processes import assert_identical

KEY = "a" * 64


def content_of(files: KeptFiles) -> bytes | None:
    with files.opened(KEY) as kept:
        return None if kept is None else kept.file.read()


def keep(files: KeptFiles, content: bytes) -> Path:
    return files.keep(KEY, lambda path: path.write_bytes(content))


@pytest.mark.parametrize("is_replaced", [True, False])
def test_an_open_file_stays_readable_when_another_process_replaces_or_deletes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_replaced: bool
) -> None:
    """A reader that opened the path again met no file here."""
    built, cache, reads = build_dataset(events(60), NOW_MS), FeatureCache(tmp_path), parquet.ParquetFile
    risk, values = RiskCache(tmp_path), np.arange(2.0 * len(RISK_NAMES[Entity.CARD])).reshape(2, -1)
    first, second = cache.write(KEY, built, ["one"]), risk.write("b" * 64, Entity.CARD, values)

    def late(file: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
        if is_replaced:
            FeatureCache(tmp_path).write(KEY, built, ["two"])
        return reads(file)

    monkeypatch.setattr(parquet, "ParquetFile", late)
    found = cache.read(KEY, None, NOW_MS)
    assert found is not None
    assert found.notes == ("one",)
    assert_identical(found.dataset, built)
    second = risk.write("b" * 64, Entity.CARD, values)
    again = risk.read("b" * 64, Entity.CARD, 2)
    assert again is not None
    np.testing.assert_array_equal(again, values)


def test_a_file_that_is_gone_after_it_was_listed_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = KeptFiles(tmp_path)
    keep(files, b"rows")
    listed = Path.glob

    def vanishing(folder: Path, pattern: str) -> list[Path]:
        found = list(listed(folder, pattern))
        for path in found:
            path.unlink()
        return found

    monkeypatch.setattr(Path, "glob", vanishing)
    assert content_of(files) is None


def test_a_complete_file_is_used_beside_a_damaged_one(tmp_path: Path) -> None:
    files = KeptFiles(tmp_path)
    keep(files, b"rows")
    for digest in ("0" * 64, "f" * 64):
        (tmp_path / f"{KEY}-{digest}.parquet").write_bytes(b"half a fi")
    assert content_of(files) == b"rows"
    keep(files, b"other rows")
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / f"{KEY}-{'f' * 64}.parquet").write_bytes(b"half a fi")
    next(path for path in tmp_path.iterdir() if "f" * 64 not in path.name).unlink()
    with pytest.raises(DamagedCacheError, match="is damaged"):
        content_of(files)


def test_two_writers_and_two_readers_never_meet_half_a_file(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(2)]
    found: list[bytes | None] = []
    problems: list[BaseException] = []

    def repeat(work: Any) -> threading.Thread:  # noqa: ANN401 - a function
        def run() -> None:
            try:
                for _ in range(60):
                    work()
            except BaseException as error:  # noqa: BLE001 - the test shows it
                problems.append(error)

        return threading.Thread(target=run)

    writers = [repeat(lambda content=content: keep(KeptFiles(tmp_path), content)) for content in contents]
    readers = [repeat(lambda: found.append(content_of(KeptFiles(tmp_path)))) for _ in range(2)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in (*writers, *readers):
        thread.join()
    assert problems == []
    assert len(found) == 120
    assert set(found) <= {None, *contents}
    assert content_of(KeptFiles(tmp_path)) in contents, "the last writer leaves a file"
    assert not list(tmp_path.glob(".*"))
