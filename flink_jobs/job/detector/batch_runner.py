"""Scores batches of records for Java's operator: the Python side of the batched crossing (ADR 27).

``FraudDetectorFunction`` defines what the detector does with one record; ``BatchRunner`` does the same with its parts
for many records in one call. Java reads and writes the keyed state, and runs the broadcast input through the function.
"""

import pickle
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from flink_jobs.core.batch_scorer import BatchScorer
from flink_jobs.core.batches import pack_answer
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.detector.merchant_rows import MerchantRows
from flink_jobs.job.detector.outputs import DEAD_LETTERS, OUTPUTS, Message

MODULE: Final = __name__
SIDE_OUTPUTS: Final = tuple(output.tag.tag_id for output in OUTPUTS if output.tag is not None)
"""Ids of the side outputs. The tag of an output is its place here plus 1; tag 0 is the main output."""
_TAGS: Final = {name: place for place, name in enumerate(SIDE_OUTPUTS, start=1)}
PROTOCOL: Final = 4
"""Version of what Java and Python hand to each other; ``JobParts.PROTOCOL`` is the same number.

A jar of another version could leave states out of a checkpoint. Increase both numbers with each change of a batch, an
answer or a call.
"""
MOST_UNSAVED: Final = 8_192
"""Customers whose state waits for the barrier: encoding and writing them takes Java and Python about 0.1 s."""

Messages = Callable[[SourceRecord, Outcome, int], list[Message]]

_opened = threading.local()


class StoredStates(Protocol):
    """Java's side: the stored state of the customer of a record of the present batch."""

    def read(self, index: int) -> bytes | None:
        """Return the state as the backend holds it."""


class BatchTracer(Protocol):
    """Makes a span of each batch that has a record of a sampled trace."""

    def begin_batch(self) -> None:
        """Note that a batch begins."""

    def end_batch(self, records: int) -> None:
        """Make the span of the batch, if one of its records has a span."""


class BatchRunner:
    """Scores the records of a batch in order."""

    def __init__(  # noqa: PLR0913 - the parts of an open function
        self,
        topic: str,
        evaluator: TransactionEvaluator,
        recent: RecentStates,
        metrics: DetectorMetrics,
        messages: Messages,
        restore: Callable[[str | None], None],
        *,
        actions_topic: str = "",
        tracer: BatchTracer | None = None,
        merchants: MerchantRows | None = None,
    ) -> None:
        """Use the parts of an open function.

        Args:
            topic: the transactions topic, for the coordinates of the records.
            evaluator: the evaluator, which the broadcast input configures.
            recent: the evaluator's cache of decoded states.
            metrics: the function's metrics.
            messages: returns the messages of an outcome, from the record, the outcome and the clock in ns.
            restore: uses the configuration of a restored savepoint.
            actions_topic: the topic of actions on accounts, likewise.
            tracer: makes the span of each batch; ``None`` without traces.
            merchants: the rows of merchants, where the detector reads them.
        """
        self._topic = topic
        self._actions_topic = actions_topic
        self._evaluator = evaluator
        self._recent = recent
        self._metrics = metrics
        self._messages = messages
        self.restore = restore
        self._tracer = tracer
        self._merchants = merchants

    def restore_merchant(self, stored: str) -> None:
        """Use the row of a merchant of a restored savepoint; Java calls it before the first record."""
        if self._merchants is not None:
            self._merchants.restore(stored)

    def start(self, states: StoredStates) -> None:
        """Begin to score batches: from now on the cache of decoded states has the newest state of its customers."""
        self._recent.defer(MOST_UNSAVED)
        self._scorer = BatchScorer(
            self._topic,
            self._evaluator,
            self._recent,
            actions_topic=self._actions_topic,
            load=self.load,
            read=lambda index: self.load(states.read(index)),
            handle=self._handle,
            letters_tag=_TAGS[DEAD_LETTERS.tag_id],
            timed=self._timed,
            clock_ns=time.time_ns,
            stopwatch_ns=time.perf_counter_ns,
        )

    def process(self, batch: bytes) -> bytes:
        """Return the answer to a batch.

        Raises:
            RuntimeError: a record could not be processed; the message names it. The job restarts from its checkpoint.
        """
        scorer = self._scorer
        if self._tracer is not None:
            self._tracer.begin_batch()
        size, states, forgotten, outputs, messages = scorer.score(batch)
        if self._tracer is not None:
            self._tracer.end_batch(size)
        self._metrics.record_scores(scorer.scores)
        if scorer.letters:
            self._metrics.record_letters(scorer.letters)
        self.flush_metrics(time.time_ns() // 1_000_000)
        return pack_answer(size, self._stored(states), forgotten, outputs, messages)

    def unsaved(self) -> bytes:
        """Return an answer with every state that Java does not have yet; Java asks before each barrier."""
        return pack_answer(0, self._stored(self._recent.collect_all()), [], [], [])

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

    def _stored(self, states: dict[str, bytes]) -> dict[str, bytes]:
        """Return states as PyFlink stores them, and count their sizes."""
        if states:
            self._metrics.record_sizes([len(state) for state in states.values()])
        return {customer_id: self.dump(state) for customer_id, state in states.items()}

    def _handle(self, record: SourceRecord, outcome: Outcome, now_ns: int) -> list[tuple[int, bytes]]:
        """Count an outcome that is not ordinary, and return its messages."""
        messages = [
            (0, message.encode()) if isinstance(message, str) else (_TAGS[message[0].tag_id], message[1].encode())
            for message in self._messages(record, outcome, now_ns)
        ]
        self._metrics.record(outcome)
        return messages

    def _timed(self, record: SourceRecord, now_ms: int, started_ns: int) -> None:
        """Count the times of a timed record."""
        timestamp_ms = record.timestamp_ms
        self._metrics.timing(
            (time.perf_counter_ns() - started_ns) / 1000, None if timestamp_ms is None else now_ms - timestamp_ms
        )


def offer_runner(runner: BatchRunner) -> None:
    """Keep the runner of a function that PyFlink has just opened; Java's operator takes it in the same thread."""
    _opened.runner = runner


def take_runner(states: StoredStates, protocol: int = 1) -> BatchRunner:
    """Return the runner of the function that was opened last in this thread.

    Args:
        states: Java's way to states that it did not send.
        protocol: that of the jar; the jar of the first release with a batched crossing names none.

    Raises:
        RuntimeError: the jar is of another release; the job does not start.
    """
    if protocol != PROTOCOL:
        raise RuntimeError(
            f"streamflow-crossing.jar is of another release (protocol {protocol}, not {PROTOCOL}): run `make setup` "
            "and start the TaskManagers again, or set STREAMFLOW_CROSSING=single"
        )
    runner: BatchRunner = _opened.__dict__.pop("runner")
    runner.start(states)
    return runner
