"""Latency and throughput of the HTTP API in front of the shipped job, measured by Locust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np

from api.keys import Scope, create_key
from flink_jobs.errors import UserError
from flink_jobs.local.ports import HOST
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.lab.benchmarks.bench_report import ResultSection, number
from tests.lab.benchmarks.rig import JobPlan, Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLERS: Final = Path(__file__).with_name("api_callers.py")
DEADLINE_MS: Final = 100
PATHS: Final = {"decide": f"/v1/transactions?deadline_ms={DEADLINE_MS}", "score": "/v1/score"}
NAMES: Final = {"decide": "POST /v1/transactions", "score": "POST /v1/score"}
ALWAYS: Final = (100, 500)
"""Requests/s that every report has."""
HIGHER: Final = (700, 1_000, 1_400, 2_000, 2_800, 4_000)
LOWER: Final = (350, 250, 150)
"""Tried if 500/s are too many."""
FRESH_S: Final = 45.0
"""A first run that is not counted: the JVM of a fresh TaskManager compiles in its first minute."""
WARM_UP_S: Final = 5.0
SENT_SHARE: Final = 0.95
FALLBACK_SHARE: Final = 0.01
PATIENCE_S: Final = 120.0
METHOD: Final = (
    "Locust sends requests evenly; each of N users sends one request per second, so a slow answer delays no other "
    f"request. deadline_ms={DEADLINE_MS}; a score has a history of 20 transactions. One API process and one detector "
    "with a checkpoint every 5 s; Locust, API, broker, database and job share the machine. Fallback: answers "
    f"without the job's decision. Sustained: at least {SENT_SHARE:.0%} of the requests were answered in the time, no "
    f"error, and at most {FALLBACK_SHARE:.0%} fallback; the highest rate tried is the last row of a call."
)


@dataclass(frozen=True, slots=True)
class Load:
    """The answers to one run."""

    rate: int
    reached: float
    p50_ms: float
    p99_ms: float
    fallback: float
    errors: int

    @property
    def is_sustained(self) -> bool:
        """Whether the API kept up with the rate."""
        return self.reached >= SENT_SHARE * self.rate and not self.errors and self.fallback <= FALLBACK_SHARE


@dataclass(frozen=True, slots=True)
class Api:
    """The API under test, and a folder for Locust's answers."""

    url: str
    key: str
    scratch: Path

    def load(self, call: str, rate: int, seconds: float) -> Load:
        """Send requests at a rate; return the answers after the warm-up.

        Raises:
            UserError: Locust failed.
        """
        answers = self.scratch / "answers.json"
        answers.unlink(missing_ok=True)
        plan = {
            "call": call,
            "path": PATHS[call],
            "key": self.key,
            "run": f"{call}{rate}-{time.time_ns()}",
            "warm_up_s": WARM_UP_S,
            "answers": str(answers),
        }
        command = [
            sys.executable, "-m", "locust", "-f", str(CALLERS), "--headless", "--only-summary", "--host", self.url,
            "--users", str(rate), "--spawn-rate", str(rate), "--run-time", f"{WARM_UP_S + seconds:.0f}s",
            "--stop-timeout", "5", "--loglevel", "ERROR", "--exit-code-on-error", "0",
        ]  # fmt: skip
        environment = {**os.environ, "API_LOAD_PLAN": json.dumps(plan)}
        run = subprocess.run(command, cwd=REPO_ROOT, env=environment, capture_output=True, text=True, check=False)
        if run.returncode or not answers.exists():
            raise UserError(f"Locust failed: {run.stderr.strip()[-500:]}", "run `make setup`")
        found = json.loads(answers.read_text(encoding="utf-8"))
        return _summary(rate, found)

    def is_decided_by_job(self) -> bool:
        """Return whether the job answers a transaction."""
        document = {
            "transaction_id": f"first-{time.time_ns()}",
            "customer_id": "bench-first",
            "amount_minor": 100,
            "currency": "USD",
            "event_time_ms": time.time_ns() // 1_000_000,
        }
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.post(f"{self.url}/v1/transactions?deadline_ms=5000", json=document, headers=headers, timeout=30)
        return bool(answer.json().get("decided_by") == "job")


def _summary(rate: int, found: dict[str, Any]) -> Load:
    times, outcomes = found["times_ms"], found["outcomes"]
    if not times:
        return Load(rate, 0.0, float("nan"), float("nan"), 0.0, 0)
    p50, p99 = (float(value) for value in np.percentile(times, (50, 99)))
    errors = sum(count for name, count in outcomes.items() if name.startswith("error"))
    return Load(rate, len(times) / found["seconds"], p50, p99, outcomes.get("fallback", 0) / len(times), errors)


def steps(load: Callable[[int], Load]) -> Iterator[Load]:
    """Yield the loads of 100 and 500 requests/s, then of higher or lower rates until the highest sustained is known."""
    last = None
    for rate in ALWAYS:
        last = load(rate)
        yield last
    assert last is not None
    rising = last.is_sustained
    for rate in HIGHER if rising else LOWER:
        found = load(rate)
        yield found
        if found.is_sustained != rising:
            return


def measure(rig: Rig, seconds: float, say: Callable[[str], None]) -> list[ResultSection]:
    """Start Postgres, the API and the job, and measure both calls."""
    os.environ["STREAMFLOW_MODEL_DIR"] = str(rig.model_dir)
    rig.stack.up(("postgres", "kafka", "api"))
    settings = rig.stack.settings()
    key = create_key(settings.postgres_dsn, "bench", list(Scope), created_by="bench", rate_per_s=1_000_000)
    api = Api(f"http://{HOST}:{rig.stack.record.ports['api']}", key, rig.scratch)
    section = ResultSection(
        "api",
        "Load test of the HTTP API",
        METHOD,
        ("call", "requests/s", "answered/s", "p50 ms", "p99 ms", "fallback", "errors", "sustained"),
    )
    try:
        with rig.detector(settings.topic_prefix, JobPlan()):
            wait_for(api.is_decided_by_job, limit_s=PATIENCE_S, what="a decision of the job")
            api.load("decide", ALWAYS[0], min(FRESH_S, seconds))
            for call, name in NAMES.items():
                _measure_call(api, call, name, seconds, section, say)
    finally:
        rig.stack.stop("api")
    return [section]


def _measure_call(
    api: Api, call: str, name: str, seconds: float, section: ResultSection, say: Callable[[str], None]
) -> None:
    highest = 0
    for load in steps(lambda rate: api.load(call, rate, seconds)):
        share = f"{load.fallback:.2%}" if call == "decide" else "-"
        say(f"{name} at {load.rate}/s: p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms, fallback {share}")
        section.add(
            name, number(load.rate), number(load.reached), number(load.p50_ms, 1), number(load.p99_ms, 1), share,
            str(load.errors), "yes" if load.is_sustained else "no",
        )  # fmt: skip
        section.raw.append({"call": name, "rate": load.rate, "answered": load.reached, "p50_ms": load.p50_ms,
                            "p99_ms": load.p99_ms, "fallback": load.fallback, "errors": load.errors})  # fmt: skip
        if load.rate in ALWAYS:
            section.cost(f"{name} at {load.rate}/s, p50", (load.p50_ms,), "ms")
            section.cost(f"{name} at {load.rate}/s, p99", (load.p99_ms,), "ms")
        if load.is_sustained:
            highest = max(highest, load.rate)
    say(f"{name}: highest sustained rate {highest}/s")
    section.rate(f"{name}, highest sustained", (float(highest),), "requests/s")
