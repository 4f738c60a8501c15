"""Latency of the HTTP API in front of the shipped job: decisions while the caller waits, and scores without effect."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from api.keys import Scope, create_key
from flink_jobs.local.ports import HOST
from flink_jobs.waiting import wait_for
from tests.lab.benchmarks.bench_report import ResultSection, number
from tests.lab.benchmarks.rig import JobPlan, Rig

if TYPE_CHECKING:
    from collections.abc import Callable

RATES: Final = (100, 500)
WARM_UP_S: Final = 15.0
DEADLINE_MS: Final = 100
CUSTOMERS: Final = 5_000
HISTORY: Final = 20
PATIENCE_S: Final = 120.0
METHOD: Final = (
    f"Requests are sent at fixed times, whether or not earlier ones are answered, with deadline_ms={DEADLINE_MS}. The "
    "time of a request begins when it was due. One API process, one detector with checkpoints every 5 s; client, API, "
    f"broker, database and job share the machine. Scores have a history of {HISTORY} transactions."
)


@dataclass
class Load:
    """The answers to one run of requests."""

    times_ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


class Client:
    """Sends requests over connections that stay open; a busy connection is never waited for."""

    def __init__(self, port: int, key: str) -> None:
        """Connect on demand."""
        self._port = port
        self._key = key
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and the document of the answer."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(HOST, self._port)
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self._key}\r\n"
        writer.write(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body
        )
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:"))
        document: dict[str, Any] = json.loads(await reader.readexactly(length))
        self._free.append((reader, writer))
        return int(lines[0].split()[1]), document

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._free:
            writer.close()


def transaction(name: str, customer: int) -> dict[str, Any]:
    """Return a transaction of now."""
    return {
        "transaction_id": name,
        "customer_id": f"bench-{customer}",
        "amount_minor": 1_000 + 37 * customer % 9_000,
        "currency": "USD",
        "event_time_ms": time.time_ns() // 1_000_000,
        "merchant": "Corner Shop",
    }


async def offer(client: Client, path: str, body: Callable[[int], bytes], rate: float, seconds: float) -> Load:
    """Send requests at a constant rate; return the answers to those after the warm-up."""
    load, running = Load(), set()
    start = time.monotonic()

    async def one(index: int, due: float) -> None:
        status, document = await client.post(path, body(index))
        if due - start >= WARM_UP_S:
            load.times_ms.append((time.monotonic() - due) * 1_000)
            load.outcomes[document.get("decided_by", "score") if status == 200 else str(status)] += 1

    for index in range(int(rate * (WARM_UP_S + seconds))):
        due = start + index / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(one(index, due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return load


def _decision(run: str) -> Callable[[int], bytes]:
    return lambda index: json.dumps(transaction(f"{run}-{index}", index % CUSTOMERS)).encode()


def _score(index: int) -> bytes:
    now = transaction(f"s-{index}", index % CUSTOMERS)
    history = [
        {**now, "transaction_id": f"h-{i}", "event_time_ms": now["event_time_ms"] - 3_600_000 * (HISTORY - i)}
        for i in range(HISTORY)
    ]
    return json.dumps({"transaction": now, "history": history}).encode()


def measure(rig: Rig, seconds: float, say: Callable[[str], None]) -> list[ResultSection]:
    """Start Postgres, the API and the job, and measure both calls at every rate."""
    os.environ["STREAMFLOW_MODEL_DIR"] = str(rig.model_dir)
    rig.stack.up(("postgres", "kafka", "api"))
    settings = rig.stack.settings()
    key = create_key(settings.postgres_dsn, "bench", list(Scope), created_by="bench", rate_per_s=1_000_000)
    port = rig.stack.record.ports["api"]
    section = ResultSection(
        "api", "Latency of the HTTP API", METHOD, ("call", "requests/s", "p50 ms", "p99 ms", "fallback", "errors")
    )
    path = f"/v1/transactions?deadline_ms={DEADLINE_MS}"

    async def first_decision() -> bool:
        client = Client(port, key)
        _, document = await client.post(
            "/v1/transactions?deadline_ms=5000", json.dumps(transaction(f"w-{time.time_ns()}", 0)).encode()
        )
        client.close()
        return document.get("decided_by") == "job"

    async def run(name: str, target: str, body: Callable[[int], bytes], rate: float) -> None:
        client = Client(port, key)
        load = await offer(client, target, body, rate, seconds)
        client.close()
        p50, p99 = (float(np.percentile(load.times_ms, share)) for share in (50, 99))
        total = sum(load.outcomes.values())
        fallback = load.outcomes["fallback"] / total
        errors = total - sum(load.outcomes[known] for known in ("job", "fallback", "score"))
        section.add(name, number(rate), number(p50, 1), number(p99, 1), f"{fallback:.1%}", str(errors))
        section.raw.append({"call": name, "rate": rate, "p50": p50, "p99": p99, "outcomes": dict(load.outcomes)})
        section.cost(f"{name} at {rate:g}/s, p50", (p50,), "ms")
        say(f"   {name} at {rate:g}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {dict(load.outcomes)}")

    with rig.detector(settings.topic_prefix, JobPlan()):
        wait_for(lambda: asyncio.run(first_decision()), limit_s=PATIENCE_S, what="a decision of the job")
        for rate in RATES:
            asyncio.run(run("POST /v1/transactions", path, _decision(f"d{rate}-{time.time_ns()}"), rate))
        for rate in RATES:
            asyncio.run(run("POST /v1/score", "/v1/score", _score, rate))
    rig.stack.stop("api")
    return [section]
