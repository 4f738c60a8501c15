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
