"""A model with inputs of merchants and terminals, their rows, and a topic that is a list, for tests of the API."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from api import histories
from api.application import create_app
from api.histories import Histories
from api.in_force import Watch
from api.measures import ApiMetrics
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.row import row_of
from flink_jobs.core.state.customer import transaction_fingerprint
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import Record
from flink_jobs.settings import Settings
from ml.artifact_writer import write_artifact
from ml.dataset import build_dataset
from ml.entity_risk import with_risk
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.unit.api.service import Memory, client, services
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import pytest

    from flink_jobs.cards.card_files import SourceEvent

T = TypeVar("T")
CHOSEN = (Entity.MERCHANT, Entity.TERMINAL)
BOOSTING = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, risk_entities=CHOSEN)
TOPIC = "bank.merchant-risk"
PLACE = (TOPIC, 0)


class Topic:
    """Stands for Kafka: the records of one partition, and what the next reader says."""

    def __init__(self, values: list[bytes], keys: dict[bytes, bytes] | None = None) -> None:
        self.values = values
        self.keys = keys or {}
        """Key of a record by its value; a key that no row has where it does not matter."""
        self.problems: list[Exception] = []
        self.starts: list[dict[tuple[str, int], int]] = []
        """Where each reader started."""

    def reader(self, _broker: Broker, topics: list[str], start: dict[tuple[str, int], int]) -> _Reader:
        assert topics == [TOPIC]
        self.starts.append(dict(start))
        if self.problems:
            raise self.problems.pop()
        return _Reader(self, start.get(PLACE, 0))


class _Reader:
    def __init__(self, topic: Topic, start: int) -> None:
        self._topic, self._next = topic, start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def end_offsets(self) -> dict[tuple[str, int], int]:
        return {PLACE: len(self._topic.values)}

    def read_to_end(self) -> Iterator[Record]:
        while self._next < len(self._topic.values):
            value, self._next = self._topic.values[self._next], self._next + 1
            yield Record(*PLACE, self._next - 1, 0, self._topic.keys.get(value, b"shop\x1fkey"), value)


class Known:
    """A trained model, the rows of the newest slot, and purchases that use them."""

    def __init__(self, folder: Path) -> None:
        events = list(events_with_ids(generate(World(40, 60, 45, 3))))
        model = train_model(
            with_risk(build_dataset(iter(events), NOW_MS), CHOSEN),
            BOOSTING,
            Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC)),
        )
        write_artifact(folder, model.manifest, model.arrays)
        self.folder, self.version = folder, model.manifest.version
        self.slot = events[-1].transaction["event_time_ms"] // SLOT_MS - 1
        self.rows = rows_of(events, self.slot)
        begin = self.slot * SLOT_MS + 600_000
        self.purchases = [
            event.transaction for event in events if begin <= event.transaction["event_time_ms"] < begin + SLOT_MS
        ]
        assert len(self.purchases) > 5

    def settings(self) -> Settings:
        return Settings.model_construct(model_dir=self.folder, artifact_store=None, model_version=self.version)


def rows_of(events: list[SourceEvent], slot: int) -> list[bytes]:
    """Return the messages of every merchant and terminal at the start of a slot."""
    states: defaultdict[tuple[Entity, str], MerchantState] = defaultdict(MerchantState)
    for event in events:
        row = event.transaction
        for entity in CHOSEN:
            state = states[entity, row[entity.value]]
            state.update(row["event_time_ms"], row["amount_minor"] / 100, 7)
            if event.label:
                fingerprint = transaction_fingerprint(f"{row['customer_id']}\x1f{row['transaction_id']}")
                state.learn(fingerprint, row["event_time_ms"], is_fraud=True)
    return [row_of(name, state, slot, entity).to_json().encode() for (entity, name), state in states.items()]


def reading(topic: Topic, patch: pytest.MonkeyPatch, entities: tuple[Entity, ...] = CHOSEN) -> Histories:
    patch.setattr(histories, "CommittedReader", topic.reader)
    return Histories(Broker("nowhere:1"), "bank", entities, ApiMetrics(), every_s=0.01, reopen_s=0.02)


async def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.01)


def served(
    known: Known,
    parts: Histories | None,
    ask: Callable[[httpx.AsyncClient], Awaitable[T]],
    ready: Callable[[], bool] | None = None,
) -> T:
    """Serve with the histories, and return what a function asks once ``ready`` is true."""
    memory = Memory()
    watch = Watch(memory, known.settings(), 60, histories=parts)

    async def run() -> T:
        await watch.refresh()
        running = [asyncio.create_task(parts.run())] if parts is not None and ready is not None else []
        try:
            async with client(create_app(replace(services(memory), watch=watch))) as http:
                if ready is not None:
                    await until(ready)
                return await ask(http)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    return asyncio.run(run())


def scores_of(purchases: list[dict[str, Any]]) -> Callable[[httpx.AsyncClient], Awaitable[list[dict[str, Any]]]]:
    async def ask(http: httpx.AsyncClient) -> list[dict[str, Any]]:
        return [(await http.post("/v1/score", json={"transaction": item})).json() for item in purchases]

    return ask
