"""The inputs of entities come back bit for bit, and every change of what they depend on is a miss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flink_jobs.core.features.entity_risk import RISK_NAMES, Entity
from ml import feature_cache, risk_cache
from ml.dataset import GENUINE, Dataset, build_dataset
from ml.entity_risk import replayed
from ml.kept_files import DamagedCacheError
from ml.risk_cache import RiskCache, risk_key
from ml.terminal_fraud import World, generate
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a" * 64


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build_dataset(events_with_ids(generate(World(20, 30, 45, 3))), NOW_MS)


@pytest.mark.parametrize("entity", Entity)
def test_inputs_come_back_bit_for_bit_also_over_several_row_groups(
    entity: Entity, rows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(risk_cache, "GROUP_ROWS", 170)
    values = replayed(rows, entity, 7)
    assert np.isnan(values).any()
    assert len(values) > 2 * 170
    cache = RiskCache(tmp_path / "cache")
    path = cache.write(KEY, entity, values)
    found = cache.read(KEY, entity, len(rows))
    assert found is not None
    assert found.tobytes() == values.tobytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.read("b" * 64, entity, len(rows)) is None


def test_a_file_of_no_rows_comes_back(tmp_path: Path) -> None:
    empty = np.empty((0, len(RISK_NAMES[Entity.CARD])))
    RiskCache(tmp_path).write(KEY, Entity.CARD, empty)
    found = RiskCache(tmp_path).read(KEY, Entity.CARD, 0)
    assert found is not None
    assert found.shape == empty.shape


def test_the_key_depends_on_everything_that_the_replay_reads(rows: Dataset) -> None:
    terminal = Entity.TERMINAL
    labels = rows.labels.copy()
    labels[np.flatnonzero(labels == 1)[0]] = GENUINE
    ids = rows.transaction_ids.copy()
    ids[3] = "another"
    changed = [
        replace(rows, labels=labels),
        replace(rows, transaction_ids=ids),
        replace(rows, amount=rows.amount + np.where(np.arange(len(rows)) == 5, 0.01, 0.0)),
        replace(rows, event_time_ms=rows.event_time_ms + 1),
        replace(rows, customer=replace(rows.customer, names=("someone else", *rows.customer.names[1:]))),
        replace(rows, terminal=rows.device),
        rows.where(np.arange(len(rows)) > 0),
    ]
    keys = [risk_key(one, terminal, 7) for one in (rows, *changed)]
    keys += [risk_key(rows, terminal, 8), risk_key(rows, Entity.DEVICE, 7)]
    assert len(set(keys)) == len(keys) == 10


def test_the_key_does_not_depend_on_features_or_on_the_numbers_of_codes(rows: Dataset) -> None:
    key = risk_key(rows, Entity.TERMINAL, 7)
    assert risk_key(replace(rows, features=rows.features + 1.0, device=rows.card), Entity.TERMINAL, 7) == key
    last = len(rows.terminal.names) - 1
    codes = np.where(rows.terminal.codes < 0, -1, last - rows.terminal.codes).astype(np.int32)
    other = replace(rows.terminal, codes=codes, names=rows.terminal.names[::-1])
    assert risk_key(replace(rows, terminal=other), Entity.TERMINAL, 7) == key


def test_another_version_of_the_code_is_a_miss(rows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "merchant.py").write_text("SLOT_MS = 21_600_000\n")
    monkeypatch.setattr(feature_cache, "CODE", (tmp_path,))
    key = risk_key(rows, Entity.MERCHANT, 7)
    (tmp_path / "merchant.py").write_text("SLOT_MS = 3_600_000\n")
    assert risk_key(rows, Entity.MERCHANT, 7) != key


def test_a_damaged_file_and_one_of_other_rows_are_never_used(rows: Dataset, tmp_path: Path) -> None:
    values = replayed(rows, Entity.MERCHANT, 7)
    cache = RiskCache(tmp_path)
    path = cache.write(KEY, Entity.MERCHANT, values)
    with pytest.raises(DamagedCacheError, match="are needed"):
        cache.read(KEY, Entity.MERCHANT, len(rows) + 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedCacheError, match="is damaged"):
        cache.read(KEY, Entity.MERCHANT, len(rows))
