"""Scores the records of a batch in order, and returns the answer for Java (see ``batches``).

The loop is in the core because it runs for every event, so it is compiled. An ordinary decision, one without an alert,
a dead letter or a reply, is packed and counted here, and so is a record that ends as one dead letter. The caller's
functions handle every other outcome.
"""

from collections.abc import Callable
from typing import Final

from flink_jobs.core.batches import unpack_batch
from flink_jobs.core.documents import Variant
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.state.recent import RecentStates

TIMED_MASK: Final = 0xF
"""One record in 16 is timed: reading the clock and Kafka's timestamp costs as much as two rules."""

MAIN: Final = 0
"""Tag of the main output."""

Handle = Callable[[SourceRecord, Outcome, int], list[tuple[int, bytes]]]
"""Counts an outcome that is not ordinary, and returns the tag and the bytes of each of its messages.

It gets the record, the outcome, and the clock when the record's turn came, in ns.
"""


class BatchScorer:
    """Scores batches; the caller counts the ordinary decisions of a batch afterwards."""

    def __init__(  # noqa: PLR0913 - the parts of a job
        self,
        topic: str,
        evaluator: TransactionEvaluator,
        recent: RecentStates,
        *,
        actions_topic: str = "",
        load: Callable[[bytes], bytes | None],
        read: Callable[[int], bytes | None],
        handle: Handle,
        letters_tag: int,
        timed: Callable[[SourceRecord, int, int], None],
        clock_ns: Callable[[], int],
        stopwatch_ns: Callable[[], int],
    ) -> None:
        """Use the parts of a job.

        Args:
            topic: the transactions topic, for the coordinates of the records.
            evaluator: the evaluator.
            recent: its cache of decoded states.
            actions_topic: the topic of actions on accounts.
            load: returns a state from the bytes in the backend.
            read: returns the state of the customer of a record of this batch, which was not sent.
            handle: handles an outcome that is not ordinary.
            letters_tag: the tag of dead letters.
            timed: observes a timed record; gets the record, its time in ms and the stopwatch when it began.
            clock_ns: the clock, ns since the epoch.
            stopwatch_ns: a monotonic clock, ns.
        """
        self._topic = topic
        self._actions_topic = actions_topic
        self._evaluator = evaluator
        self._recent = recent
        self._load = load
        self._read = read
        self._handle = handle
        self._letters_tag = letters_tag
        self._timed = timed
        self._clock_ns = clock_ns
        self._stopwatch_ns = stopwatch_ns
        self._records = 0
        self._index = 0
        self._key = ""
        self._stored: dict[str, bytes | None] = {}
        self._outputs: list[int] = []
        self._messages: list[bytes] = []
        self.scores: list[float] = []
        """The score of each ordinary decision of the last batch."""
        self.letters: dict[str, int] = {}
        """The number of records of the last batch that ended as a dead letter, by reason."""

    def score(self, batch: bytes) -> tuple[int, dict[str, bytes], list[int], list[int], list[bytes]]:
        """Return the parts of the answer to a batch, see ``pack_answer``; the states are not yet as Java stores them.

        Raises:
            RuntimeError: a record could not be processed; the message names it.
        """
        records, states = unpack_batch(batch, self._topic, self._actions_topic)
        newest: dict[str, bytes] = {}
        forgotten: list[int] = []
        self._outputs, self._messages, self.scores, self.letters = [], [], [], {}
        self._stored = stored = {}
        evaluator, recent, read_state = self._evaluator, self._recent, self._read_state
        for index in range(len(records)):
            record = records[index]
            self._index = index
            self._key = key = record.routing_key
            try:
                sent = states[index]
                if sent is not None:
                    stored[key] = self._load(sent)
                self._records += 1
                is_timed = not self._records & TIMED_MASK
                started_ns = self._stopwatch_ns() if is_timed else 0
                now_ns = self._clock_ns()
                now_ms = now_ns // 1_000_000
                outcome = evaluator.evaluate(record, read_state, now_ms)
                state = outcome.state
                if state:
                    newest[key] = stored[key] = state
                if state is None and not recent.holds(key):
                    forgotten.append(index)
                self._send(record, outcome, now_ns)
                if is_timed:
                    self._timed(record, now_ms, started_ns)
            except Exception as error:
                place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                raise RuntimeError(f"the detector failed on the record {place}: {error!r}") from error
        newest.update(recent.collect())
        return len(records), newest, forgotten, self._outputs, self._messages

    def _send(self, record: SourceRecord, outcome: Outcome, now_ns: int) -> None:
        """Add the messages of an outcome to the answer, and count it."""
        # Unpacked, because looking up a field by its name takes five times as long.
        (
            _, decision, alert, letters, _, score, behind_ms, _, is_degraded, variant, shadow, notices, stopped, action,
        ) = outcome  # fmt: skip
        if record.headers or alert is not None:
            self._send_all(record, outcome, now_ns)
        elif decision is None and action is None and len(letters) == 1:
            letter = letters[0]
            reason = str(letter.reason)  # hashing the enum's member would run Python
            self.letters[reason] = self.letters.get(reason, 0) + 1
            self._add(self._letters_tag, f"{letter.id}\n{letter.body}".encode())
        elif (
            decision is None
            or letters
            or is_degraded
            or behind_ms
            or notices
            or stopped is not None
            or shadow is not None
            or variant is not Variant.CHAMPION
        ):
            self._send_all(record, outcome, now_ns)
        else:
            self.scores.append(score)
            self._add(MAIN, f"{self._key}\n{decision}".encode())

    def _send_all(self, record: SourceRecord, outcome: Outcome, now_ns: int) -> None:
        for tag, message in self._handle(record, outcome, now_ns):
            self._add(tag, message)

    def _add(self, tag: int, message: bytes) -> None:
        outputs = self._outputs
        outputs.append(self._index)
        outputs.append(tag)
        outputs.append(len(message))
        self._messages.append(message)

    def _read_state(self) -> bytes | None:
        """Return the stored state of the customer of the present record.

        A state that has left the cache in this batch is newer than the one that Java has. Java sends no state that
        should be decoded here; where it is not, Java is asked.
        """
        key = self._key
        saved = self._recent.saved(key)
        if saved is not None:
            return saved
        if key not in self._stored:
            self._stored[key] = self._read(self._index)
        return self._stored[key]
