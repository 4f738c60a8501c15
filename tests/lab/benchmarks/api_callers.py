"""The callers of the API's load test, for Locust; ``api_load.py`` runs this file with Locust and reads its answers.

Each user sends one request per second, at a place of its own within the second, so that N users are an even load of
N requests per second, and a slow answer delays no other request.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any, Final

from locust import FastHttpUser, events, task

PLAN: Final[dict[str, Any]] = json.loads(os.environ["API_LOAD_PLAN"])
"""``call``, ``path``, ``key``, ``run``, ``warm_up_s`` and ``answers``, the file for the answers."""
CUSTOMERS: Final = 5_000
HISTORY: Final = 20
HOUR_MS: Final = 3_600_000
EVERY_S: Final = 1.0
NUMBERS: Final = count()
STARTED: Final = time.monotonic()
TIMES_MS: Final[list[float]] = []
OUTCOMES: Final[Counter[str]] = Counter()
FALLBACK: Final = b'"decided_by":"fallback"'


def transaction(number: int) -> dict[str, Any]:
    """Return a transaction of now."""
    customer = number % CUSTOMERS
    return {
        "transaction_id": f"{PLAN['run']}-{number}",
        "customer_id": f"bench-{customer}",
        "amount_minor": 1_000 + 37 * customer % 9_000,
        "currency": "USD",
        "event_time_ms": time.time_ns() // 1_000_000,
        "merchant": "Corner Shop",
    }


def body(number: int) -> str:
    """Return the body of a request; a score has a history of twenty purchases, one per hour."""
    now = transaction(number)
    if PLAN["call"] == "decide":
        return json.dumps(now)
    at = now["event_time_ms"]
    history = [
        {**now, "transaction_id": f"h-{hour}", "event_time_ms": at - HOUR_MS * (HISTORY - hour)}
        for hour in range(HISTORY)
    ]
    return json.dumps({"transaction": now, "history": history})


class Caller(FastHttpUser):
    """A caller with one request per second."""

    headers: Final = {"Authorization": f"Bearer {PLAN['key']}", "Content-Type": "application/json"}
    due = 0.0
    """When the next request is due, on ``time.monotonic()``."""

    def on_start(self) -> None:
        """Wait for a place within the second: Locust starts all users of a second at once."""
        place = random.random()  # noqa: S311 - no secret
        self.due = time.monotonic() + place
        time.sleep(place)  # Locust replaces this function: other users run on

    def wait_time(self) -> float:
        """Return the seconds until the next request.

        Locust's ``constant_throughput`` counts from the start of the user, before ``on_start``: all users of a second
        would send at the same moment.
        """
        self.due += EVERY_S
        return max(0.0, self.due - time.monotonic())

    @task
    def call(self) -> None:
        """Send one request."""
        self.client.post(PLAN["path"], data=body(next(NUMBERS)), headers=self.headers)


def note(response_time: float, response: Any, exception: Exception | None, **_: object) -> None:  # noqa: ANN401 - of Locust
    """Keep the time and the kind of an answer after the warm-up."""
    if time.monotonic() - STARTED < PLAN["warm_up_s"]:
        return
    TIMES_MS.append(response_time)
    if exception is not None:
        OUTCOMES[f"error {getattr(response, 'status_code', 0)}"] += 1
    else:
        OUTCOMES["fallback" if FALLBACK in (response.content or b"") else "answered"] += 1


def write(**_: object) -> None:
    """Write the answers for the benchmark."""
    seconds = time.monotonic() - STARTED - PLAN["warm_up_s"]
    found = {"times_ms": TIMES_MS, "outcomes": dict(OUTCOMES), "seconds": seconds}
    Path(PLAN["answers"]).write_text(json.dumps(found), encoding="utf-8")


events.request.add_listener(note)  # type: ignore[no-untyped-call]
events.quitting.add_listener(write)  # type: ignore[no-untyped-call]
