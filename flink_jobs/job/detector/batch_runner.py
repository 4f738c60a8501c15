"""Scores batches of records for Java's operator: the Python side of the batched crossing (ADR 25).

``FraudDetectorFunction`` defines what the detector does with one record; ``BatchRunner`` does the same with its parts
for many records in one call. Java reads and writes the keyed state, and runs the broadcast input through the function.
"""

import pickle
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from flink_jobs.core.batches import NumberedBytes, pack_answer, unpack_batch
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.detector.models import JobModels, keyed

MODULE: Final = __name__
SIDE_OUTPUTS: Final = ("alerts", "dead-letters", "control")
"""Ids of the side outputs. The tag of an output is its place here plus 1; tag 0 is the main output."""
_DECISION, _ALERT, _DEAD_LETTER, _CONTROL = range(4)
TIMED_MASK: Final = 0xF
"""One record in 16 is timed: reading the clock and Kafka's timestamp costs as much as two rules."""

_opened = threading.local()


class StoredStates(Protocol):
    """Java's side: the stored state of the customer of a record of the present batch."""

    def read(self, index: int) -> bytes | None:
        """Return the state as the backend holds it."""


class BatchRunner:
    """Scores the records of a batch in order."""

    states: StoredStates

    def __init__(
        self,
        topic: str,
        evaluator: TransactionEvaluator,
        models: JobModels,
        metrics: DetectorMetrics,
        restore: Callable[[str | None], None],
    ) -> None:
        """Use the parts of an open function.

        Args:
            topic: the transactions topic, for the coordinates of the records.
            evaluator: the evaluator, which the broadcast input configures.
            models: reports model faults.
            metrics: the function's metrics.
            restore: uses the configuration of a restored savepoint.
        """
        self._topic = topic
        self._evaluator = evaluator
        self._models = models
        self._metrics = metrics
        self.restore = restore
        self._records = 0

    def process(self, batch: bytes) -> bytes:
        """Return the answer to a batch.

        Raises:
            RuntimeError: a record could not be processed; the message names it. The job restarts from its checkpoint.
        """
        records, states = unpack_batch(batch, self._topic)
        newest: dict[str, NumberedBytes] = {}
        forgotten: list[int] = []
        outputs: list[tuple[int, int, bytes]] = []
        stored: dict[str, bytes | None] = {}
        evaluate = self._evaluator.evaluate
        now_ms = 0
        for index, record in enumerate(records):
            try:
                key = record.routing_key
                sent = states[index]
                if sent is not None:
                    stored[key] = self.load(sent)
                self._records += 1
                started_ns = time.perf_counter_ns() if not self._records & TIMED_MASK else 0
                now_ms = time.time_ns() // 1_000_000

                def read_state(key: str = key, index: int = index) -> bytes | None:
                    if key not in stored:  # Java assumed that it is decoded here, but a duplicate has removed it
                        stored[key] = self.load(self.states.read(index))
                    return stored[key]

                outcome = evaluate(record, read_state, now_ms)
                if outcome.decision is None or outcome.state is None:
                    forgotten.append(index)
                else:
                    newest[key] = index, outcome.state
                    stored[key] = outcome.state
                    outputs.append((index, _DECISION, keyed(outcome.customer_id, outcome.decision).encode()))
                if outcome.alert is not None or outcome.letters or outcome.notices or outcome.stopped is not None:
                    self._side_outputs(index, record, outcome, now_ms, outputs)
                self._count(record, outcome, now_ms, started_ns)
            except Exception as error:
                place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                raise RuntimeError(f"the detector failed on the record {place}: {error!r}") from error
        if self._metrics.due(now_ms):
            self._metrics.flush(now_ms)
        dumped = [(index, self.dump(state)) for index, state in newest.values()]
        return pack_answer(len(records), dumped, forgotten, outputs)

    def flush_metrics(self, now_ms: int) -> None:
        """Flush counts that no later record has flushed; Java calls it half a second after a batch."""
        if self._metrics.due(now_ms):
            self._metrics.flush(now_ms)

    def load(self, stored: bytes | None) -> bytes | None:
        """Return a state from the bytes in the backend: PyFlink stores a pickled ``bytes`` object."""
        return pickle.loads(stored) if stored else None  # noqa: S301 - as PyFlink does it, from our own checkpoint

    def dump(self, state: bytes) -> bytes:
        """Return a state as PyFlink stores it."""
        return pickle.dumps(state)

    def _side_outputs(
        self, index: int, record: SourceRecord, outcome: Outcome, now_ms: int, outputs: list[tuple[int, int, bytes]]
    ) -> None:
        """Add the alert, the dead letters and the control messages of a record."""
        if outcome.alert is not None:
            outputs.append((index, _ALERT, keyed(outcome.customer_id, outcome.alert).encode()))
            self._metrics.alert(record.timestamp_ms, now_ms)
        outputs += [(index, _DEAD_LETTER, keyed(letter.id, letter.body).encode()) for letter in outcome.letters]
        if outcome.notices or outcome.stopped is not None:
            outputs += [(index, _CONTROL, line.encode()) for line in self._models.report(outcome, now_ms)]

    def _count(self, record: SourceRecord, outcome: Outcome, now_ms: int, started_ns: int) -> None:
        """Count the outcome of a record, and its times if it was timed."""
        self._metrics.record(outcome)
        if started_ns:
            timestamp_ms = record.timestamp_ms
            self._metrics.timing(
                (time.perf_counter_ns() - started_ns) / 1000, None if timestamp_ms is None else now_ms - timestamp_ms
            )


def offer_runner(runner: BatchRunner) -> None:
    """Keep the runner of a function that PyFlink has just opened; Java's operator takes it in the same thread."""
    _opened.runner = runner


def take_runner(states: StoredStates) -> BatchRunner:
    """Return the runner of the function that was opened last in this thread.

    Args:
        states: Java's way to states that it did not send.
    """
    runner: BatchRunner = _opened.__dict__.pop("runner")
    runner.states = states
    return runner
