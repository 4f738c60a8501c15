"""Throughput of ways to bring the numbers of a merchant to the score: one keyed stage, two, and a broadcast table.

``python -m tests.lab.benchmarks.keyed_stages`` runs three Flink jobs in turn, each in a fresh local cluster with one
task slot, RocksDB and thread mode. Events come from Flink's generator, and the functions use the core: the stage of
customers parses a transaction, reads the state, computes features and rules and writes the state. Records cross into
Python one at a time. It prints the ratio of the throughputs of each round, with minimum, median and maximum.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from pyflink.common import Configuration, Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.table import StreamTableEnvironment

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, risk_at, risk_inputs, slot_of
from flink_jobs.core.features.vector import extract_features, surprise_of
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.rules import FraudRuleEvaluator
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.merchant import MerchantState
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW
from flink_jobs.core.transaction import Transaction
from flink_jobs.job.detector.sources import keyed_rows, routed_stream

ONE, TWO, TABLE = "one keyed stage", "two keyed stages", "broadcast table"
CUSTOMERS, MERCHANTS = 5_000, 2_000
NOW_MS: Final = 4_000_000_000_000
WARM_SHARE: Final = 0.4
"""Share of the events before the clock starts: the JVM compiles."""
_ROWS: Final = MapStateDescriptor("merchant-rows", Types.STRING(), Types.STRING())
_KEYED: Final = Types.ROW([Types.STRING(), Types.STRING()])
_BYTES: Final = Types.PICKLED_BYTE_ARRAY()


class Scoring:
    """What the stage of customers does with a record."""

    def __init__(self, events: int, times: str) -> None:
        """Write the time of the warm event and of the last one to the file ``times``.

        Raises:
            RuntimeError: Flink fell back to process mode.
        """
        if "pyflink.fn_execution.embedded.operations" not in sys.modules:
            raise RuntimeError("Python runs in a process of its own, not in thread mode")
        self._warm, self._last, self._times, self._seen = round(events * WARM_SHARE), events, times, 0
        self._rules, self._blacklist = FraudRuleEvaluator(DetectionConfig().rules), DetectionConfig().blacklist

    def score(self, payload: str, kept: Any) -> str:  # noqa: ANN401 - PyFlink's state
        """Return the score of a transaction, and write the state of its customer."""
        transaction = parse_transaction(payload.encode(), NOW_MS)
        if not isinstance(transaction, Transaction):
            raise TypeError(f"the generator made a bad transaction: {transaction.detail}")
        state = CustomerFraudState(kept.value())
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, self._blacklist.matches)
        verdict = self._rules.evaluate(features)
        fingerprint = transaction_fingerprint(transaction.transaction_id)
        state.observe(transaction, amount, fingerprint, surprise_of(features), DEFAULT_WINDOW)
        kept.update(state.to_bytes())
        self._seen += 1
        if self._seen in {self._warm, self._last}:
            with Path(self._times).open("a", encoding="utf-8") as file:
                file.write(f"{time.perf_counter()}\n")
        return f"{verdict.score}"


class CustomerStage(KeyedProcessFunction):  # type: ignore[misc]
    """Scores; merchants play no part, or come with the record."""

    def __init__(self, events: int, times: str) -> None:
        """Take the arguments of ``Scoring``."""
        self._arguments = events, times

    def open(self, runtime_context: Any) -> None:  # noqa: ANN401 - PyFlink has no types
        """Open the state."""
        self._scoring = Scoring(*self._arguments)
        self._state = runtime_context.get_state(ValueStateDescriptor("customer", _BYTES))

    def process_element(self, value: str, ctx: Any) -> Iterator[str]:  # noqa: ANN401, ARG002
        """Score one record; the numbers of its merchant follow a tab."""
        payload, _, numbers = value.partition("\t")
        yield self._scoring.score(payload, self._state) + numbers


class MerchantStage(KeyedProcessFunction):  # type: ignore[misc]
    """Adds the numbers of the merchant to each record, and the purchase to the merchant's state."""

    def open(self, runtime_context: Any) -> None:  # noqa: ANN401
        """Open the state."""
        self._state = runtime_context.get_state(ValueStateDescriptor("merchant", _BYTES))

    def process_element(self, value: str, ctx: Any) -> Iterator[Row]:  # noqa: ANN401, ARG002
        """Pass a record on under the key of its customer."""
        document = json.loads(value)
        time_ms, amount = document["event_time_ms"], document["amount_minor"] / 100
        state = MerchantState(self._state.value())
        inputs = risk_inputs(risk_at(state, slot_of(time_ms), DEFAULT_DELAY_DAYS), amount)
        state.update(time_ms, amount, DEFAULT_DELAY_DAYS)
        self._state.update(state.to_bytes())
        yield Row(document["customer_id"], f"{value}\t{json.dumps(inputs)}")


class TableStage(KeyedBroadcastProcessFunction):  # type: ignore[misc]
    """Scores with a row of the merchant from broadcast state, kept as a dictionary as the detector does."""

    def __init__(self, events: int, times: str) -> None:
        """Take the arguments of ``Scoring``."""
        self._arguments = events, times

    def open(self, runtime_context: Any) -> None:  # noqa: ANN401
        """Open the state."""
        self._scoring, self._rows = Scoring(*self._arguments), dict[str, str]()
        self._state = runtime_context.get_state(ValueStateDescriptor("customer", _BYTES))

    def process_element(self, value: str, ctx: Any) -> Iterator[str]:  # noqa: ANN401, ARG002
        """Score one record with the row of its merchant."""
        merchant = json.loads(value)["merchant"]
        yield self._scoring.score(value, self._state) + self._rows.get(merchant, "")

    def process_broadcast_element(self, value: Row, ctx: Any) -> Iterator[str]:  # noqa: ANN401
        """Keep the row of a merchant."""
        self._rows[value[0]] = value[0]
        ctx.get_broadcast_state(_ROWS).put(value[0], value[0])
        yield from ()


def run_job(variant: str, events: int, times: str) -> None:
    """Build one job and run it in this process."""
    configuration = Configuration()
    for key, value in {
        "python.execution-mode": "thread",
        "state.backend.type": "rocksdb",
        "parallelism.default": "1",
        "pipeline.object-reuse": "true",
        "execution.buffer-timeout.interval": "5 ms",
        "restart-strategy.type": "none",
    }.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    t_env = StreamTableEnvironment.create(env)
    t_env.execute_sql(f"""
        CREATE TEMPORARY TABLE events (
            n BIGINT, c INT, m INT, a INT, record_time AS TO_TIMESTAMP_LTZ(n, 3),
            WATERMARK FOR record_time AS record_time
        ) WITH (
            'connector' = 'datagen', 'number-of-rows' = '{events}', 'fields.n.kind' = 'sequence',
            'fields.n.start' = '1', 'fields.n.end' = '{events}', 'fields.c.min' = '1', 'fields.c.max' = '{CUSTOMERS}',
            'fields.m.min' = '1', 'fields.m.max' = '{MERCHANTS}', 'fields.a.min' = '100', 'fields.a.max' = '50000')""")
    document = (
        '\'{"transaction_id":"t\' || CAST(n AS STRING) || \'","customer_id":"\' || CAST(c AS STRING) || '
        '\'","merchant":"\' || CAST(m AS STRING) || \'","amount_minor":\' || CAST(a AS STRING) || '
        '\',"currency":"USD","category":"food","event_time_ms":\' || CAST(1700000000000 + n * 1000 AS STRING) || \'}\''
    )
    by = "m" if variant == TWO else "c"
    stream = routed_stream(t_env, {"k": f"CAST({by} AS STRING)", "v": document}, "events", _KEYED)
    keyed = keyed_rows(stream, Types.STRING())
    if variant == TWO:
        keyed = keyed_rows(keyed.process(MerchantStage(), output_type=_KEYED), Types.STRING())
    if variant == TABLE:
        rows = env.from_collection([(str(n),) for n in range(1, MERCHANTS + 1)], Types.ROW([Types.STRING()]))
        scored = keyed.connect(rows.broadcast(_ROWS)).process(TableStage(events, times), output_type=Types.STRING())
    else:
        scored = keyed.process(CustomerStage(events, times), output_type=Types.STRING())
    t_env.create_temporary_view("scores", scored)
    t_env.execute_sql("CREATE TEMPORARY TABLE nothing (v STRING) WITH ('connector' = 'blackhole')")
    t_env.execute_sql("INSERT INTO nothing SELECT * FROM scores").wait()


def rate(variant: str, events: int) -> float:
    """Return the events per second of one run in a process of its own.

    Raises:
        SystemExit: the job failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"
        packages = sysconfig.get_paths()["purelib"]
        environment = {**os.environ, "PYTHONPATH": f"{packages}:{os.environ.get('PYTHONPATH', '.')}"}
        command = [sys.executable, "-m", __spec__.name, "--events", str(events), "--job", variant, str(times)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found = times.read_text().split() if times.exists() else []
        if ended.returncode or len(found) != 2:
            raise SystemExit(f"{variant}: the job failed\n{ended.stdout[-1000:]}{ended.stderr[-3000:]}")
        return events * (1 - WARM_SHARE) / (float(found[1]) - float(found[0]))


def main() -> None:
    """Run the variants in turn and print their rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", nargs=2, metavar=("VARIANT", "FILE"), help="run one job, for the command itself")
    options = parser.parse_args()
    if options.job:
        run_job(options.job[0], options.events, options.job[1])
        return
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        order = [ONE, TWO, TABLE] if number % 2 == 0 else [TABLE, TWO, ONE]
        rounds.append({variant: rate(variant, options.events) for variant in order})
        rates = ", ".join(f"{name} {one:,.0f}/s" for name, one in rounds[-1].items())
        print(f"round {number + 1}: {rates}", flush=True)  # noqa: T201
    for variant in (TWO, TABLE):
        ratios = [one[variant] / one[ONE] for one in rounds]
        print(f"{variant} / {ONE}: min {min(ratios):.2f}, median {median(ratios):.2f}, max {max(ratios):.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
