"""The state of the demo: its threads write here, the screen reads snapshots."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.demo.measures import LatencyLog, Percentiles, RateMeter
from flink_jobs.kafka.outgoing import Fate
from flink_jobs.traffic.ledger import NOTHING, Coordinate, SentLedger
from flink_jobs.traffic.outcomes import FATE_OF_DISPOSITION, Outcomes
from flink_jobs.traffic.replay import Watcher

if TYPE_CHECKING:
    from flink_jobs.core.documents import AlertDocument
    from flink_jobs.kafka.consumer import Record
    from flink_jobs.kafka.outgoing import Outgoing
    from flink_jobs.traffic.sender_metrics import TrafficMetrics

ALERTS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The last answers of Flink and Postgres; ``None`` without an answer so far.

    Attributes:
        state: of the detector job, such as RUNNING or RESTARTING.
        busy: share of the time that the detector's task is busy, 0 to 1.
        checkpoints: number of completed checkpoints.
        failed_checkpoints: number of failed checkpoints.
        checkpoint_age_s: seconds since the last one completed.
        checkpoint_ms: duration of the last one.
        state_bytes: size of the last one.
        archived: number of outcomes of this run in Postgres.
    """

    state: str | None = None
    busy: float | None = None
    checkpoints: int = 0
    failed_checkpoints: int = 0
    checkpoint_age_s: float | None = None
    checkpoint_ms: int | None = None
    state_bytes: int | None = None
    archived: int | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """The fields of an alert that the screen shows."""

    customer: str
    merchant: str | None
    amount_minor: int
    currency: str
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of a run, in milliseconds.

    Attributes:
        alert: from sending a transaction until its alert can be read.
        alert_warm: the same for the second half of the alerts.
        readable: from sending a transaction until its committed decision can be read.
        readable_warm: the same for the second half of the decisions.
        decision: from a transaction's Kafka timestamp to the time of its decision.
        decision_warm: the same for the second half.
    """

    alert: Percentiles
    alert_warm: Percentiles
    readable: Percentiles
    readable_warm: Percentiles
    decision: Percentiles
    decision_warm: Percentiles


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All values that the screen shows, at one time. Rates are records per second over the last seconds."""

    seconds: float
    wanted: int
    good: int
    sent: int
    sent_rate: float
    decided: int
    decided_rate: float
    rejected: int
    duplicates: int
    alert: Percentiles
    readable: Percentiles
    decision: Percentiles
    alerts: int
    latest: tuple[Alert, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    degraded: int = 0
    cluster: ClusterView = field(default_factory=ClusterView)

    @property
    def lag(self) -> int:
        """Records that the broker has and whose outcome cannot be read yet."""
        return self.sent - self.decided - self.rejected - self.duplicates


class Board(Watcher):
    """Watches the replay, collects the committed outcomes, and keeps the ledger of the run.

    The sender's thread enters deliveries, the reader's thread enters outcomes, the main thread takes snapshots.
    """

    def __init__(self, prefix: str, run: str, wanted: int, metrics: TrafficMetrics) -> None:
        """Start an empty ledger.

        Args:
            prefix: prefix of the topics.
            run: prefix of the run's customers.
            wanted: number of valid transactions to send.
            metrics: metrics of the sender, updated with every delivery and outcome.

        Attribute ``first_alert_s``: when the first alert of the run was read, in seconds since the epoch.
        """
        self.ledger = SentLedger()
        self.outcomes = Outcomes(self.ledger, topic_name(prefix, "transactions"))
        self.first_offsets: dict[int, int] = {}
        self.cluster = ClusterView()
        self.end = threading.Event()
        self.all_sent = False
        self.progress_at = time.monotonic()
        self._alerts_topic = topic_name(prefix, "alerts")
        self._run = run
        self._wanted = wanted
        self._metrics = metrics
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._sending_s: deque[float] = deque()
        self._transactions_s: dict[str, float] = {}
        self._sent_s: dict[Coordinate, float] = {}
        self._early: list[tuple[Record, float]] = []
        self._latest: deque[Alert] = deque(maxlen=ALERTS_SHOWN)
        self.first_alert_s: float | None = None
        self._alert, self._readable, self._decision = LatencyLog(), LatencyLog(), LatencyLog()
        self._sent_rate, self._decided_rate = RateMeter(), RateMeter()

    # ---- on the sender's thread

    def sending(self, record: Outgoing) -> None:
        """Record the send time; it equals the record's Kafka timestamp to the millisecond."""
        self._metrics.sending(record)
        now_s = time.time()
        self._sending_s.append(now_s)
        if record.transaction_id is not None and record.fate is Fate.DECIDED:
            with self._lock:
                self._transactions_s[record.transaction_id] = now_s

    def delivered(self, record: Outgoing, partition: int, offset: int) -> None:
        """Enter the partition and offset of a delivered record."""
        self._metrics.delivered(record, partition, offset)
        with self._lock:
            self._sent_s[partition, offset] = self._sending_s.popleft()
            self.first_offsets.setdefault(partition, offset)

    def wants_end(self) -> bool:
        """Return whether the replay must end: true once ``end`` is set."""
        return self.end.is_set()

    # ---- on the reader's thread

    def take(self, record: Record, seen_s: float) -> None:
        """Enter one committed record of an output topic, read at ``seen_s`` (seconds since the epoch)."""
        with self._lock:
            if not self._enter(record, seen_s):
                self._early.append((record, seen_s))

    def take_early(self) -> None:
        """Enter outcomes that arrived before the producer reported the offset of their record."""
        with self._lock:
            self._early = [item for item in self._early if not self._enter(*item)]

    def _enter(self, record: Record, seen_s: float) -> bool:
        document = orjson.loads(record.value or b"null")
        if record.topic == self._alerts_topic:
            self._enter_alert(document, seen_s)
            return True
        source = document.get("source", document)
        at = source["partition"], source["offset"]
        if not self._is_known(source["topic"], at):
            return False
        if "source" in document:
            self._time(Fate.DECIDED, at, seen_s, document["processing_time_ms"])
            self.outcomes.add_decision(document)
        else:
            fate = FATE_OF_DISPOSITION.get(document["disposition"])
            if fate is not None:
                self._time(fate, at, seen_s)
            self.outcomes.add_letter(document)
        return True

    def _is_known(self, topic: str, at: Coordinate) -> bool:
        """Return whether it is certain that the record at ``at`` is, or is not, one of this run."""
        partition, offset = at
        if self.all_sent or topic != self.outcomes.topic or at in self._sent_s:
            return True
        first = self.first_offsets.get(partition)
        return first is not None and (offset < first or self.outcomes.seen.get(at) != NOTHING)

    def _time(self, fate: Fate, at: Coordinate, seen_s: float, processing_time_ms: int | None = None) -> None:
        sent_s = self._sent_s.pop(at, None)
        if sent_s is None:
            return
        now = self.progress_at = time.monotonic()
        latency_ms = (seen_s - sent_s) * 1_000
        self._metrics.outcome(fate.value, latency_ms)
        if processing_time_ms is not None:
            self._readable.add(now, latency_ms)
            self._decision.add(now, max(0.0, processing_time_ms - sent_s * 1_000))

    def _enter_alert(self, document: AlertDocument, seen_s: float) -> None:
        self.outcomes.add_alert(document)
        sent_s = self._transactions_s.pop(document["transaction_id"], None)
        if sent_s is not None:  # an alert that comes again is not measured
            self._alert.add(time.monotonic(), (seen_s - sent_s) * 1_000)
        if document["customer_id"].startswith(self._run):
            self.first_alert_s = self.first_alert_s or seen_s
            reasons = tuple(reason["code"] for reason in document["reasons"])
            customer = document["customer_id"].removeprefix(self._run)
            amount, currency = document["amount_minor"], document["currency"]
            self._latest.append(Alert(customer, document["merchant"], amount, currency, document["score"], reasons))

    # ---- on the main thread

    def is_complete(self) -> bool:
        """Return whether all records were sent and have their outcome, alerts included."""
        with self._lock:
            answered = self.all_sent and self.outcomes.answered >= self.ledger.sent
            return answered and self.outcomes.alerts_decided <= self.outcomes.alerts_sent.keys()

    def sent_and_answered(self) -> tuple[int, int]:
        """Return the number of records that the broker has, and of those whose outcome is readable."""
        with self._lock:
            return self.ledger.sent, self.outcomes.answered

    def latencies(self) -> Latencies:
        """Return the latencies of the run."""
        with self._lock:
            logs = (self._alert, self._readable, self._decision)
            return Latencies(*(part for log in logs for part in (log.all(), log.second_half())))

    def snapshot(self) -> Snapshot:
        """Return the current values."""
        with self._lock:
            now, fates, ledger = time.monotonic(), self.outcomes.fates, self.ledger
            return Snapshot(
                seconds=now - self._started,
                wanted=self._wanted,
                good=ledger.fates["decided"],
                sent=ledger.sent,
                sent_rate=self._sent_rate.update(now, ledger.sent),
                decided=fates["decided"],
                decided_rate=self._decided_rate.update(now, fates["decided"]),
                rejected=fates["rejected"],
                duplicates=fates["duplicate"],
                alert=self._alert.recent(now),
                readable=self._readable.recent(now),
                decision=self._decision.recent(now),
                alerts=len(self.outcomes.alerts_decided),
                latest=tuple(self._latest),
                reasons=dict(self.outcomes.reasons.most_common()),
                degraded=self.outcomes.degraded,
                cluster=self.cluster,
            )
