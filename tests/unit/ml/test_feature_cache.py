"""The feature cache: rows come back bit for bit, and every change of what they depend on is a miss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyarrow import parquet

from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import FeatureSource
from ml import feature_cache
from ml.dataset import build_dataset
from ml.feature_cache import CardFile, FeatureCache, cache_key, code_digest
from ml.kept_files import DamagedCacheError
from tests.unit.ml.synthetic import NOW_MS, START_MS, events
from tests.unit.ml.test_replay_processes import SOURCES, assert_identical, own, with_bad_events

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a" * 64
SOURCE = CardFile("cards.csv.gz", "1" * 64, "2" * 64, skip_bad_rows=False, config=DetectionConfig())


def test_rows_come_back_bit_for_bit_also_over_several_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "GROUP_ROWS", 170)
    values = own()
    built = build_dataset(with_bad_events(events(700, seed=2), seed=3), NOW_MS, own=values)
    assert built.rejected > 0
    cache = FeatureCache(tmp_path / "cache")
    path = cache.write(KEY, built, ["2 rows were skipped"])
    found = cache.read(KEY, values.features, NOW_MS)
    assert found is not None
    assert found.path == path
    assert found.notes == ("2 rows were skipped",)
    assert_identical(found.dataset, built)


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    built = build_dataset(events(200), NOW_MS)
    table = parquet.read_table(str(FeatureCache(tmp_path).write(KEY, built, [])))
    assert table.column("customer").to_pylist() == [built.customer.text(row) for row in range(len(built))]
    assert table.column("features.0").to_numpy().tobytes() == built.features[:, 0].tobytes()


def test_only_the_owner_reads_folder_and_file(tmp_path: Path) -> None:
    path = FeatureCache(tmp_path / "cache").write(KEY, build_dataset(events(50), NOW_MS), [])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_without_a_file_there_is_no_hit(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.write("b" * 64, build_dataset(events(50), NOW_MS), [])
    assert cache.read(KEY, None, NOW_MS) is None


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_file_is_never_used(tmp_path: Path, *, cut: bool) -> None:
    cache = FeatureCache(tmp_path)
    path = cache.write(KEY, build_dataset(events(200), NOW_MS), [])
    content = bytearray(path.read_bytes())
    if cut:
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedCacheError, match="is damaged"):
        cache.read(KEY, None, NOW_MS)
    built = build_dataset(events(200), NOW_MS)
    cache.write(KEY, built, [])
    found = cache.read(KEY, None, NOW_MS)
    assert found is not None
    assert_identical(found.dataset, built)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, *_: object) -> None:
        path.write_bytes(b"PAR1 and then the disk was full")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_cache, "_write", fails)
    with pytest.raises(OSError, match="No space left"):
        FeatureCache(tmp_path).write(KEY, build_dataset(events(50), NOW_MS), [])
    assert list(tmp_path.iterdir()) == []


def test_rows_later_than_the_clock_allows_are_not_used(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.write(KEY, build_dataset(events(50), NOW_MS), [])
    assert cache.read(KEY, None, START_MS - 10**9) is None
    assert cache.read(KEY, None, NOW_MS) is not None


def test_the_key_depends_on_everything_that_the_rows_depend_on() -> None:
    features = load_features(SOURCES)
    (module,) = SOURCES
    edited = load_features([FeatureSource(module.module, module.text + "\n# a comment\n")])
    changed = [
        replaced(sha256="3" * 64),
        replaced(mapping_sha256="3" * 64),
        replaced(skip_bad_rows=True),
        replaced(name="cards.jsonl.gz"),
        replaced(config=DetectionConfig(blacklist=Blacklist(customer=frozenset({"c1"})))),
    ]
    keys = [cache_key(SOURCE, None), cache_key(SOURCE, features), cache_key(SOURCE, edited)]
    keys += [cache_key(source, None) for source in changed]
    assert len(set(keys)) == len(keys) == 8


def test_the_key_does_not_depend_on_settings_without_effect_on_rows() -> None:
    alpha = replaced(config=DetectionConfig(alpha=0.3, alpha_is_set=True))
    assert cache_key(alpha, None) == cache_key(SOURCE, None)
    assert cache_key(replaced(name="copy.csv.gz"), None) == cache_key(SOURCE, None)


def replaced(**changes: object) -> CardFile:
    return SOURCE._replace(**changes)  # type: ignore[arg-type]


def test_another_version_of_the_code_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vector.py").write_text("FEATURES = 14\n")
    monkeypatch.setattr(feature_cache, "CODE", (tmp_path,))
    first, key = code_digest(), cache_key(SOURCE, None)
    (tmp_path / "vector.py").write_text("FEATURES = 15\n")
    assert code_digest() != first
    assert cache_key(SOURCE, None) != key


def test_the_digest_of_the_code_covers_the_replay() -> None:
    files = {path.name for folder in feature_cache.CODE for path in folder.rglob("*.py")}
    assert files >= {"replay.py", "vector.py", "rules.py", "card_files.py", "mapping.py", "dataset.py", "codec.py"}


def test_an_empty_column_keeps_its_type(tmp_path: Path) -> None:
    built = build_dataset([replace(event, label=None) for event in events(40)], NOW_MS)
    assert (built.scenario.codes == -1).all()
    cache = FeatureCache(tmp_path)
    cache.write(KEY, built, [])
    found = cache.read(KEY, None, NOW_MS)
    assert found is not None
    assert found.dataset.scenario.codes.dtype == np.int32
    assert_identical(found.dataset, built)
