"""The gate of ``model promote`` with ``--cache``: one replay for both models, and the same checks with and without."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from flink_jobs.cli import cached_histories, cached_rows, data_source, risk_options, row_reports
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.cli.promote_command import card_rows
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.errors import UserError
from flink_jobs.model_registry import promotion_gate
from flink_jobs.model_registry.promotion import PromotionRequest
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason
from ml.artifact_writer import write_artifact
from ml.dataset import build_dataset
from ml.entity_risk import with_risk
from ml.gate import Check, GateBounds
from ml.parameters import TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

if TYPE_CHECKING:
    from flink_jobs.model_registry.promotion import CardRows

PROVENANCE = Provenance("cards.jsonl", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
ENTITIES = (Entity.MERCHANT, Entity.TERMINAL)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    lines: list[str] = []
    for module in (cached_histories, cached_rows, data_source, risk_options, row_reports):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


class Lab:
    """A card file and three models: a forest, boosted trees with histories, and those with own features too."""

    def __init__(self, folder: Path) -> None:
        self.own = OwnValues(load_features(read_sources([EXAMPLE], FOLDER)))
        self.cards, self.models = folder / "cards.jsonl", folder / "models"
        events = list(events_with_ids(generate(World(40, 60, 45, 3))))
        with self.cards.open("w") as file:
            file.writelines(json.dumps(one.transaction | {"is_fraud": int(bool(one.label))}) + "\n" for one in events)
        rows = with_risk(build_dataset(iter(events), NOW_MS, own=self.own), ENTITIES)
        self.items = {}
        for version, parameters in (
            ("forest", TrainingParameters(n_estimators=10)),
            ("terminals", TrainingParameters("gradient_boosting", n_estimators=10, risk_entities=ENTITIES[1:])),
            (
                "both",
                TrainingParameters("gradient_boosting", n_estimators=10, risk_entities=ENTITIES, own_features=True),
            ),
        ):
            trained = train_model(rows, parameters, PROVENANCE, version)
            write_artifact(self.models, trained.manifest, trained.arrays)
            last_ms = trained.manifest.training_data.last_event_time_ms
            self.items[version] = SimpleNamespace(
                version=version,
                digest=trained.manifest.arrays_sha256,
                artifact_uri=f"{self.models}/{version}",
                manifest={"training_data": {"last_event_time_ms": last_ms}},
            )

    def choice(self, cache: Path | None) -> DataChoice:
        return DataChoice(
            self.cards, None, skip_bad_rows=False, from_decisions=False, since=None, until=None, labels_until=None,
            cache=cache,
        )  # fmt: skip

    def gate(self, candidate: str, champion: str, cards: CardRows) -> list[Check]:
        settings = SimpleNamespace(entities=tuple(Entity), own_values=lambda: self.own, model_dir=self.models)
        registry = SimpleNamespace(get=self.items.__getitem__, at=lambda _: self.items[champion])
        why, bounds = ChangeReason("ann", "better"), GateBounds(min_frauds=5)
        asked = PromotionRequest(candidate, ModelStage.CHAMPION, why, bounds, cards, 1.0, force=False)
        checks = promotion_gate.run_gate(cast("Any", settings), cast("Any", registry), asked, DetectionConfig(), NOW_MS)
        return [check for check in checks if check.name != "scoring time"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("gate"))


@pytest.mark.parametrize(("candidate", "champion"), [("both", "terminals"), ("forest", "terminals"), ("both", "both")])
def test_the_checks_are_those_without_a_cache_and_the_second_gate_replays_nothing(
    lab: Lab, tmp_path: Path, said: list[str], candidate: str, champion: str
) -> None:
    without = lab.gate(candidate, champion, card_rows(lab.cards, None, 1, None))
    assert {"average precision", "roc auc", "alert rate"} <= {check.name.lower() for check in without}
    said.clear()
    first = lab.gate(candidate, champion, card_rows(lab.cards, None, 1, tmp_path / "cache"))
    replays = [line for line in said if line.startswith("Replaying")]
    assert len(replays) == len(set(replays)), "one replay for both models"
    assert any("Features are kept in" in line for line in said)
    said.clear()
    second = lab.gate(candidate, champion, card_rows(lab.cards, None, 1, tmp_path / "cache"))
    assert not any(line.startswith(("Replaying", "Features are kept")) for line in said)
    assert any("rows from the feature cache" in line for line in said)
    assert without == first == second


def test_the_gate_replays_only_the_inputs_that_a_model_reads(lab: Lab, tmp_path: Path, said: list[str]) -> None:
    cards = card_rows(lab.cards, None, 1, tmp_path / "cache")
    lab.gate("forest", "forest", cards)
    assert not any("history" in line.lower() for line in said)
    lab.gate("forest", "terminals", cards)
    assert [line for line in said if line.startswith("Replaying")] == ["Replaying the history of each terminal ..."]


def test_the_gate_reads_what_train_has_kept_unless_other_lists_are_in_force(
    lab: Lab, tmp_path: Path, said: list[str]
) -> None:
    cache = tmp_path / "cache"
    read_data(lab.choice(cache))
    said.clear()
    cards = card_rows(lab.cards, None, 1, cache)
    cards(DetectionConfig(), None, ())
    assert len(said) == 1
    assert "rows from the feature cache" in said[0]
    said.clear()
    listed = cards(DetectionConfig(blacklist=Blacklist(merchant=frozenset({"m1"}))), None, ())
    assert any("Features are kept in" in line for line in said)
    assert listed.rule_hits.sum() > cards(DetectionConfig(), None, ()).rule_hits.sum()


@pytest.mark.usefixtures("said")
def test_cards_without_the_ids_of_an_entity_are_measured_without_its_history(lab: Lab, tmp_path: Path) -> None:
    plain = tmp_path / "plain.jsonl"
    lines = (json.loads(line) for line in lab.cards.read_text().splitlines())
    plain.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "terminal"}) + "\n" for line in lines))
    found = lab.gate("terminals", "forest", card_rows(plain, None, 1, None))
    assert "alert rate" in {check.name for check in found}


def test_a_cache_folder_that_cannot_be_used_is_an_error(lab: Lab, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="of --cache cannot be used"):
        lab.gate("forest", "forest", card_rows(lab.cards, None, 1, tmp_path / "file"))
    assert said == []
