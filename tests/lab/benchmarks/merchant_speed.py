"""CPU time of inputs of merchants: in the detector per record and per row, in the job of merchants per decision.

``python -m tests.lab.benchmarks.merchant_speed`` trains two small models on generated purchases, with and without these
inputs, and prints medians of several rounds. No stack runs, so the figures also hold on a shared machine.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import orjson

from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, Entity
from flink_jobs.core.merchants.row import row_of
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.job.detector.batch_runner import PROTOCOL, take_runner
from flink_jobs.job.detector.operator import FraudDetectorFunction
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
from tests.unit.ml.terminal_events import NOW_MS, events_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.core.parsing.source_record import SourceRecord

TREES: Final = 100
MERCHANTS: Final = 2_000
OFF, UNUSED, ON = "record, off", "record, rows unused", "record, with inputs"
ROW, DECISION = "row in the detector", "decision in the job"


def main() -> None:
    """Measure and print a table of microseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if core_in_use() != "compiled":
        raise SystemExit("the core is not compiled: run `python -m flink_jobs.native.build`")
    events = list(events_of(generate(World(400, MERCHANTS, 45, 3))))
    with tempfile.TemporaryDirectory() as folder:
        models = {kind: trained(Path(folder) / str(kind), events, has_risk=kind) for kind in (False, True)}
        rounds = [measure(models, events) for _ in range(options.rounds)]
    print(f"{len(events)} purchases, {TREES} trees, {MERCHANTS} merchants; CPU in µs, median of {options.rounds}")  # noqa: T201
    for name in rounds[0]:
        print(f"{name:24} {median(taken[name] for taken in rounds):8.2f}")  # noqa: T201


def trained(folder: Path, events: list[SourceEvent], *, has_risk: bool) -> Path:
    """Return a folder with one model of boosted trees."""
    parameters = TrainingParameters(
        kind=ModelFamily.GRADIENT_BOOSTING.value,
        n_estimators=TREES,
        risk_entities=(Entity.MERCHANT,) if has_risk else (),
    )
    dataset = build_dataset(iter(events), NOW_MS)
    provenance = Provenance("terminals.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
    model = train_model(with_risk(dataset, (Entity.MERCHANT,)) if has_risk else dataset, parameters, provenance)
    folder.mkdir()
    write_artifact(folder, model.manifest, model.arrays)
    return folder


def measure(models: dict[bool, Path], events: list[SourceEvent]) -> dict[str, float]:
    """Return CPU microseconds of one round."""
    batches = packed([InputMessage(b"", orjson.dumps({"schema_version": 1, **item.transaction})) for item in events])
    stream = MerchantStream()
    found = {DECISION: timed(stream.decide, [item.transaction for item in events])}
    rows = rows_of(events)
    for name, has_risk, has_rows in ((OFF, False, False), (UNUSED, False, True), (ON, True, True)):
        settings = replace(detector_settings(models[has_risk]), state_cache_customers=10_000)
        operator = Operator(
            FraudDetectorFunction(replace(settings, merchants_topic=MERCHANTS_TOPIC if has_rows else ""))
        )
        if has_rows:
            found[ROW] = timed(operator.control, rows)
        runner = take_runner(NoStates(), PROTOCOL)
        found[name] = timed(runner.process, batches) * len(batches) / len(events)
    return found


def rows_of(events: list[SourceEvent]) -> list[SourceRecord]:
    """Return the row of each merchant at the last slot; without labels, as most merchants are."""
    states: defaultdict[str, MerchantState] = defaultdict(MerchantState)
    for item in events:
        row = item.transaction
        states[row["merchant"]].update(row["event_time_ms"], row["amount_minor"] / 100, DEFAULT_DELAY_DAYS)
    slot = events[-1].transaction["event_time_ms"] // SLOT_MS
    return [row_record(row_of(name, state, slot).to_json().encode()) for name, state in states.items()]


def timed(work: Callable[[Any], object], items: Sequence[object]) -> float:
    """Return the CPU microseconds of each item."""
    gc.collect()
    started = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - started) / len(items) * 1e6


if __name__ == "__main__":
    main()
