"""``--risk`` with ``--cache``: a hit gives the inputs of the replay, and a damaged file is replayed and replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.cli import cached_histories, risk_options
from flink_jobs.cli.data_source import SourcedDataset
from flink_jobs.cli.risk_options import with_histories
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.errors import UserError
from ml.dataset import Dataset, build_dataset
from ml.entity_risk import with_risk
from ml.terminal_fraud import World, generate
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

BOTH = (Entity.TERMINAL, Entity.DEVICE)


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build_dataset(events_with_ids(generate(World(10, 20, 45, 3))), NOW_MS)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    for module in (cached_histories, risk_options):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


def bytes_of(rows: Dataset, entities: tuple[Entity, ...], cache: Path | None) -> bytes:
    found = with_histories(SourcedDataset(rows, "cards.csv", None), entities, 7, cache).dataset.risk
    assert found is not None
    assert found.entities == entities
    return found.values.tobytes()


def test_each_entity_is_replayed_once(rows: Dataset, tmp_path: Path, said: list[str]) -> None:
    expected = with_risk(rows, BOTH).risk
    assert expected is not None
    assert bytes_of(rows, BOTH[:1], tmp_path) == with_risk(rows, BOTH[:1]).risk.values.tobytes()  # type: ignore[union-attr]
    assert bytes_of(rows, BOTH, tmp_path) == expected.values.tobytes()
    assert bytes_of(rows, BOTH, tmp_path) == expected.values.tobytes() == bytes_of(rows, BOTH, None)
    assert [line for line in said if line.startswith("Replaying")] == [
        "Replaying the history of each terminal ...",
        "Replaying the history of each device ...",
        "Replaying the history of each terminal and each device ...",
    ]
    assert said.count("History of each terminal from the feature cache") == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_is_replaced(rows: Dataset, tmp_path: Path, said: list[str]) -> None:
    first = bytes_of(rows, BOTH[:1], tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    assert bytes_of(rows, BOTH[:1], tmp_path) == first
    assert any(line.startswith("Warning:") and "is damaged" in line for line in said)
    (again,) = tmp_path.iterdir()
    said.clear()
    assert bytes_of(rows, BOTH[:1], tmp_path) == first
    assert said == ["History of each terminal from the feature cache"]
    assert again.exists()


def test_a_folder_that_cannot_be_used_is_an_error(rows: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="of --cache cannot be used"):
        bytes_of(rows, BOTH, tmp_path / "file")
