"""The order of the gate's checks, with models that load or do not."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.model_registry import promotion_gate
from flink_jobs.model_registry.promotion import PromotionRequest
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason
from ml import gate_measures
from ml.gate import NO_CHAMPION, Check, GateBounds, refusals

ASKED = PromotionRequest(
    "new", ModelStage.CHAMPION, ChangeReason("ann", "better"), GateBounds(), None, 1.0, force=False, days=None
)


def checks(monkeypatch: pytest.MonkeyPatch, champion: str | None, damaged: str | None = None) -> list[Check]:
    """Return the checks of a promotion; the artifact of one version is damaged."""

    def load(_settings: object, item: SimpleNamespace, _inputs: object) -> tuple[object | None, Check]:
        loads = item.version != damaged
        detail = "loads" if loads else "model.npz has another digest"
        return (object() if loads else None), Check("artifact", passed=loads, detail=detail)

    def versioned(version: str) -> SimpleNamespace:
        return SimpleNamespace(version=version)

    monkeypatch.setattr(promotion_gate, "_load_registered", load)
    monkeypatch.setattr(gate_measures, "median_score_us", lambda *_: 1.0)
    registry = SimpleNamespace(get=versioned, at=lambda _: None if champion is None else versioned(champion))
    settings = SimpleNamespace(entities=(), own_values=lambda: None)
    return promotion_gate.run_gate(cast("Any", settings), cast("Any", registry), ASKED, DetectionConfig(), 0)


def test_the_first_champion_needs_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(monkeypatch, champion=None)
    assert refusals(found) == []
    assert found[-1].detail == NO_CHAMPION


def test_a_champion_that_cannot_be_loaded_is_an_unknown_and_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    (reason,) = refusals(checks(monkeypatch, champion="old", damaged="old"))
    assert "the champion old cannot be loaded" in reason
    assert "model.npz has another digest" in reason
    assert "--force" in reason


def test_a_candidate_that_cannot_be_loaded_has_no_further_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.name for check in checks(monkeypatch, champion="old", damaged="new")] == ["artifact"]


def test_without_cards_or_decisions_nothing_is_compared_and_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    (reason,) = refusals(checks(monkeypatch, champion="old"))
    assert "give --data" in reason
