"""Scores batches of records for Java's operator: the Python side of the batched crossing (ADR 27).

``FraudDetectorFunction`` defines what the detector does with one record; ``BatchRunner`` does the same with its parts
for many records in one call. Java reads and writes the keyed state, and runs the broadcast input through the function.
"""

import pickle
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from flink_jobs.core.batches import NumberedBytes, pack_answer, unpack_batch
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.detector.outputs import OUTPUTS, Message

MODULE: Final = __name__
SIDE_OUTPUTS: Final = tuple(output.tag.tag_id for output in OUTPUTS if output.tag is not None)
"""Ids of the side outputs. The tag of an output is its place here plus 1; tag 0 is the main output."""
_TAGS: Final = {name: place for place, name in enumerate(SIDE_OUTPUTS, start=1)}
TIMED_MASK: Final = 0xF
"""One record in 16 is timed: reading the clock and Kafka's timestamp costs as much as two rules."""

Messages = Callable[[SourceRecord, Outcome, int], list[Message]]

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
        metrics: DetectorMetrics,
        messages: Messages,
        restore: Callable[[str | None], None],
    ) -> None:
        """Use the parts of an open function.

        Args:
            topic: the transactions topic, for the coordinates of the records.
            evaluator: the evaluator, which the broadcast input configures.
            metrics: the function's metrics.
            messages: returns the messages of an outcome, from the record, the outcome and the clock.
            restore: uses the configuration of a restored savepoint.
        """
        self._topic = topic
        self._evaluator = evaluator
        self._metrics = metrics
        self._messages = messages
        self.restore = restore
        self._records = 0
        self._stored: dict[str, bytes | None] = {}

    def process(self, batch: bytes) -> bytes:
        """Return the answer to a batch.

        Raises:
            RuntimeError: a record could not be processed; the message names it. The job restarts from its checkpoint.
        """
        records, states = unpack_batch(batch, self._topic)
        newest: dict[str, NumberedBytes] = {}
        forgotten: list[int] = []
        outputs: list[tuple[int, int, bytes]] = []
        self._stored = stored = {}
        evaluate, messages, read_state = self._evaluator.evaluate, self._messages, self._read_state
        for index, record in enumerate(records):
            key = record.routing_key
            try:
                sent = states[index]
                if sent is not None:
                    stored[key] = self.load(sent)
                self._records += 1
                started_ns = time.perf_counter_ns() if not self._records & TIMED_MASK else 0
                now_ms = time.time_ns() // 1_000_000
                outcome = evaluate(record, partial(read_state, key, index), now_ms)
                if outcome.state is None:
                    forgotten.append(index)
                else:
                    newest[key] = index, outcome.state
                    stored[key] = outcome.state
                for message in messages(record, outcome, now_ms):
                    if isinstance(message, str):
                        outputs.append((index, 0, message.encode()))
                    else:
                        outputs.append((index, _TAGS[message[0].tag_id], message[1].encode()))
                self._count(record, outcome, now_ms, started_ns)
            except Exception as error:
                place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                raise RuntimeError(f"the detector failed on the record {place}: {error!r}") from error
        self.flush_metrics(time.time_ns() // 1_000_000)
        dumped = [(index, self.dump(state)) for index, state in newest.values()]
        return pack_answer(len(records), dumped, forgotten, outputs)

    def flush_metrics(self, now_ms: int) -> None:
        """Flush counts that no later record has flushed; Java also calls it half a second after a batch."""
        if self._metrics.due(now_ms):
            self._metrics.flush(now_ms)

    def load(self, stored: bytes | None) -> bytes | None:
        """Return a state from the bytes in the backend: PyFlink stores a pickled ``bytes`` object."""
        return pickle.loads(stored) if stored else None  # noqa: S301 - as PyFlink does it, from our own checkpoint

    def dump(self, state: bytes) -> bytes:
        """Return a state as PyFlink stores it."""
        return pickle.dumps(state)

    def _read_state(self, key: str, index: int) -> bytes | None:
        """Return a customer's state of the present batch.

        Java sends no state that should be decoded here. A duplicate removes it, for example, and Java is asked.
        """
        if key not in self._stored:
            self._stored[key] = self.load(self.states.read(index))
        return self._stored[key]

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
