from __future__ import annotations

import pytest

from flink_jobs.job.detector import operator
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Clock


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The detector's clock, which stands still until a test moves it."""
    clock = Clock(NOW_MS)
    monkeypatch.setattr(operator, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _opens_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open detectors without a warm-up of up to two seconds and without a search through all objects of all tests.

    ``test_warm_up.py`` opens them as a job does.
    """
    if request.module.__name__.rpartition(".")[2] != "test_warm_up":
        monkeypatch.setattr(operator, "warm_up", lambda *_: 0)
        monkeypatch.setattr(operator, "calm_garbage_collection", lambda: None)
