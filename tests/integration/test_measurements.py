"""Short runs of soak and benchmarks on the real stack: they finish, and their ledgers reconcile.

docs/soak.md and docs/speed.md hold real measurements; no assertion here depends on speed. Regression: a setting added
to the benchmark's plans made ``make bench BENCH_FLAGS="--only latency"`` fail, and no test ran it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.lab.benchmarks import latency
from tests.lab.benchmarks.engines import run_detector, run_evaluator
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.lab.benchmarks.workload import card_traffic
from tests.lab.soak import soak_report
from tests.lab.soak.sampling import SERIES, rss_series
from tests.lab.soak.soak_command import running_soak

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.local.stack import Stack


@pytest.fixture(scope="module")
def rig(stack: Stack, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(stack, model_dir, tmp_path_factory.mktemp("measurements"))


def test_a_short_soak_reconciles_and_every_series_has_a_verdict(rig: Rig, tmp_path: Path) -> None:
    said: list[str] = []
    # A decision is readable after its checkpoint, so that a sample needs one; a verdict needs eight samples. A busy
    # machine needs longer for them than the minutes below.
    with running_soak(rig, customers=200, plan=JobPlan(checkpoint_interval_ms=500)) as running:
        samples = running.soak(rate=200.0, minutes=0.75, every_s=2.5, say=said.append, least=12)
        letters = running.catch_up()
        failures = rig.rest.failures(running.job_id)
        sent, decided = running.sender.sent, running.window.decided

    assert sent == decided + letters
    assert sent > 5_000
    assert letters > 0
    assert failures == []
    assert len(said) == len(samples) >= 12
    series = (*SERIES, *rss_series([item.name for item in rig.stack.status() if item.state == "running"]))
    verdicts = soak_report.judge(samples, series)
    assert [row["series"] for row in verdicts] == [one.name for one in series]
    soak_report.write(
        tmp_path, {"command": "", "machine": {}, "run": {}, "verdicts": verdicts, "samples": samples}, series
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["soak.html", "soak.json", "soak.md"]


def test_throughput_is_measured_on_decisions_that_equal_the_evaluators(rig: Rig) -> None:
    messages = card_traffic(5_000)
    done = run_detector(rig, messages, JobPlan(), run_evaluator(messages, rig.model_dir)[1])
    assert 0 < done.rate.events <= 5_000
    assert done.rate.cpu_seconds > 0


def test_latency_covers_every_transaction_after_the_warm_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "WARM_UP_S", 1.0)
    plan = latency.PLANS[-1]
    measured = latency.run(rig, plan, rate=50.0, seconds=4.0)
    assert 0 < len(measured.decisions) < 250
    assert np.all(measured.decisions > 0)
    assert 0 < measured.rate <= 51
