"""CPU time and memory of histories: in the detector per record and per row, in the job of merchants per decision.

``python -m tests.lab.benchmarks.merchant_speed`` trains small models on generated purchases, without these inputs and
with those of one to four entities, and prints medians of several rounds. No stack runs, so the figures also hold on a
shared machine.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import tracemalloc
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import orjson

from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, Entity
from flink_jobs.core.merchants.row import row_of
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.job.detector.batch_runner import PROTOCOL, take_runner
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.merchant_operator import FIELDS
from flink_jobs.native.loader import core_in_use
from ml.artifact_writer import write_artifact
from ml.dataset import build_dataset
from ml.entity_risk import with_risk
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.integration.crossing_input import detector_settings
from tests.lab.benchmarks.batch_speed import NoStates, packed
from tests.lab.benchmarks.workload import InputMessage
from tests.unit.job.fake_runtime import Operator
from tests.unit.job.merchant_stream import MERCHANTS_TOPIC, MerchantStream, row_record
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.core.parsing.source_record import SourceRecord

TREES: Final = 100
TERMINALS: Final = 2_000
TERMINALS_PER_MERCHANT: Final = 10
OFF, UNUSED, RECORD = "record, off", "record, rows unused", "record, entities"
ROW, DECISION = "row in the detector", "decision in the job"
MEMORY_ROWS: Final = 100_000
CHOICES: Final = tuple(tuple(Entity)[:count] for count in range(1, len(Entity) + 1))
"""Merchants alone, and one more entity each."""


def main() -> None:
    """Measure and print a table of microseconds, and the cost of one more entity as ratios of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--customers", type=int, default=400, help="each makes about 84 purchases")
    options = parser.parse_args()
    if core_in_use() != "compiled":
        raise SystemExit("the core is not compiled: run `python -m flink_jobs.native.build`")
    events = list(events_with_ids(generate(World(options.customers, TERMINALS, 45, 3)), TERMINALS_PER_MERCHANT))
    with tempfile.TemporaryDirectory() as folder:
        models = {chosen: trained(Path(folder) / str(len(chosen)), events, chosen) for chosen in ((), *CHOICES)}
        rounds = [measure(models, events) for _ in range(options.rounds)]
    print(f"{len(events)} purchases, {TREES} trees, {TERMINALS} terminals; CPU in µs, median of {options.rounds}")  # noqa: T201
    for name in rounds[0]:
        print(f"{name:30} {median(taken[name] for taken in rounds):8.2f}")  # noqa: T201
    for kind in (RECORD, DECISION):
        for chosen in CHOICES[1:]:
            ratios = sorted(taken[f"{kind}, {len(chosen)}"] / taken[f"{kind}, 1"] for taken in rounds)
            text = f"{kind}, {len(chosen)} entities / 1"
            print(f"{text:38} {ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f} (min, median, max)")  # noqa: T201
    print("a row takes {:.0f} bytes in Python and {} bytes of JSON".format(*memory_of_a_row()))  # noqa: T201


def memory_of_a_row() -> tuple[float, int]:
    """Return the bytes of a row in the detector's table, with an id of 16 characters, and of its JSON in the state."""
    state = MerchantState()
    for slot in range(120, 0, -1):
        state.update(NOW_MS - slot * SLOT_MS, 12.5, DEFAULT_DELAY_DAYS)
    row = row_of("token-0000000000", state, NOW_MS // SLOT_MS, Entity.CARD)
    table = EntityTable(tuple(Entity))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(MEMORY_ROWS):
        table.put(row._replace(name=f"token-{number:010d}"))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / MEMORY_ROWS, len(row.to_json())


def trained(folder: Path, events: list[SourceEvent], chosen: tuple[Entity, ...]) -> Path:
    """Return a folder with one model of boosted trees with the inputs of some entities."""
    parameters = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=TREES, risk_entities=chosen)
    dataset = build_dataset(iter(events), NOW_MS)
    provenance = Provenance("terminals.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
    model = train_model(with_risk(dataset, chosen) if chosen else dataset, parameters, provenance)
    folder.mkdir()
    write_artifact(folder, model.manifest, model.arrays)
    return folder


def measure(models: dict[tuple[Entity, ...], Path], events: list[SourceEvent]) -> dict[str, float]:
    """Return CPU microseconds of one round."""
    batches = packed([InputMessage(b"", orjson.dumps(item.transaction)) for item in events])
    found: dict[str, float] = {}
    rows = rows_of(events)
    cases: list[tuple[str, tuple[Entity, ...], tuple[Entity, ...]]] = [(OFF, (), ()), (UNUSED, (), tuple(Entity))]
    cases += [(f"{RECORD}, {len(chosen)}", chosen, chosen) for chosen in CHOICES]
    for name, inputs, stored in cases:
        settings = replace(detector_settings(models[inputs]), state_cache_customers=10_000)
        topic = MERCHANTS_TOPIC if stored else ""
        operator = Operator(FraudDetectorFunction(replace(settings, merchants_topic=topic, risk_entities=stored)))
        if stored:
            found[ROW] = timed(operator.control, [item for entity, item in rows if entity in stored])
        runner = take_runner(NoStates(), PROTOCOL)
        found[name] = timed(runner.process, batches) * len(batches) / len(events)
    for chosen in CHOICES:
        stream = MerchantStream(entities=chosen, origin=FIELDS)
        found[f"{DECISION}, {len(chosen)}"] = timed(stream.decide, [item.transaction for item in events])
    return found


def rows_of(events: list[SourceEvent]) -> list[tuple[Entity, SourceRecord]]:
    """Return the row of each entity at the last slot; without labels, as most entities are."""
    states: defaultdict[tuple[Entity, str], MerchantState] = defaultdict(MerchantState)
    for item in events:
        row = item.transaction
        for entity in Entity:
            if (name := row.get(entity.value)) is not None:
                states[entity, name].update(row["event_time_ms"], row["amount_minor"] / 100, DEFAULT_DELAY_DAYS)
    slot = events[-1].transaction["event_time_ms"] // SLOT_MS
    return [
        (entity, row_record(row_of(name, state, slot, entity).to_json().encode()))
        for (entity, name), state in states.items()
    ]


def timed(work: Callable[[Any], object], items: Sequence[object]) -> float:
    """Return the CPU microseconds of each item."""
    gc.collect()
    started = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - started) / len(items) * 1e6


if __name__ == "__main__":
    main()
