"""One run of a case: its traffic, its fault, and the ledger that is reconciled at the end of every case."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.cards.card_files import SourceEvent, with_prefix
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.replay import replay_features
from flink_jobs.core.transaction import Transaction
from flink_jobs.demo.archived import open_archive
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.outgoing import Fate, Outgoing
from flink_jobs.kafka.pacing import Pace
from flink_jobs.kafka.producer import RecordProducer
from flink_jobs.traffic.balance import await_balance, balance
from flink_jobs.traffic.ledger import SentLedger
from flink_jobs.traffic.outcomes import output_ends
from flink_jobs.traffic.replay import paced
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from flink_jobs.waiting import wait_for
from tests.lab.faults.fault_case import LedgerCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flink_jobs.traffic.balance import Balance
    from flink_jobs.traffic.ledger import Coordinate
    from tests.lab.faults.fault_case import CaseResult
    from tests.lab.faults.system_under_test import Pair, SystemUnderTest

PATIENCE_S = 400.0
"""Longest time without a new outcome; covers a failover with growing restart delays on a busy machine."""
SEND_LIMIT_S = 300.0
CUSTOMERS = 100


class SendingStream:
    """Records that a separate thread is sending."""

    def __init__(self, ledger: SentLedger) -> None:
        """Count the records that are added to a ledger from now on."""
        self._ledger = ledger
        self._base = ledger.sent
        self.failed = threading.Event()

    def reach(self, count: int) -> None:
        """Wait until the broker has acknowledged this number of records of the stream."""

        def reached() -> bool:
            return self.failed.is_set() or self._ledger.sent - self._base >= count

        wait_for(reached, limit_s=SEND_LIMIT_S, what=f"{count} records to be sent", interval_s=0.02)


class Trial:
    """Everything that a case uses: traffic, the time of the fault, expectations, reconciliation."""

    def __init__(self, system: SystemUnderTest, result: CaseResult) -> None:
        """Start without jobs; the case chooses them with ``on``."""
        self.system = system
        self.result = result
        self.seed = result.seed
        self.ledger = SentLedger()
        self._sent: dict[Coordinate, Outgoing] = {}
        self._began_ms = time.time() * 1000
        self._fault_ms: float | None = None
        self._customers = f"{result.name}-{int(self._began_ms):x}-"

    def on(self, pair: Pair) -> None:
        """Use these jobs from now on."""
        self.pair = pair
        self._began_ms = time.time() * 1000
        self._start = output_ends(self.system.broker, pair.prefix)

    # ---- traffic

    def events(self, count: int, customers: int = CUSTOMERS) -> list[SourceEvent]:
        """Return seeded card traffic whose customers belong to this case only."""
        plan = SimulationPlan(customers=customers, seed=self.seed)
        return list(itertools.islice(with_prefix(simulate(plan), self._customers), count))

    @contextmanager
    def sending(self, records: Iterable[Outgoing], rate: float | None = None) -> Iterator[SendingStream]:
        """Send records while the block causes the fault; when the block ends, all records are delivered.

        Raises:
            UserError: the broker rejected a record.
        """
        stream = SendingStream(self.ledger)

        def send() -> None:
            try:
                with RecordProducer(self.system.broker, self.pair.transactions, self.enter) as producer:

                    def nap(seconds: float) -> None:
                        time.sleep(seconds)
                        producer.settle()

                    for record in paced(records, Pace(rate=rate), time.monotonic, nap):
                        producer.send(record)
            except BaseException:
                stream.failed.set()
                raise

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(send)
            yield stream
            future.result()

    def send(self, records: Iterable[Outgoing], rate: float | None = None) -> None:
        """Send records and wait until the broker has acknowledged all of them."""
        with self.sending(records, rate):
            pass

    def enter(self, record: Outgoing, partition: int, offset: int) -> None:
        """Add a delivered record to the ledger."""
        self.ledger.add(record, partition, offset)
        self._sent[partition, offset] = record

    # ---- fault and expectations

    def strike(self, what: str) -> None:
        """Record the time of the fault, or of its end if it lasts; recovery time counts from the last call."""
        self._fault_ms = time.time() * 1000
        self.result.happened.append(what)

    def recovered(self, job: str) -> None:
        """Wait until a job completes a checkpoint that began after the fault, and record the recovery time."""
        if self._fault_ms is None:
            raise ValueError("no fault was recorded; call `strike` first")
        took_s = (self.system.checkpoint_after(job, self._fault_ms) - self._fault_ms) / 1000
        self.result.recovery_s = max(self.result.recovery_s or 0.0, took_s)

    def since_fault_s(self) -> float:
        """Return the seconds since the fault, or since its end if it lasts."""
        if self._fault_ms is None:
            raise ValueError("no fault was recorded; call `strike` first")
        return time.time() - self._fault_ms / 1000

    def note(self, what: str) -> None:
        """Add an observation to the table."""
        self.result.happened.append(what)

    def expect(self, condition: object, what: str) -> None:
        """Check an expectation; if it does not hold, the case fails."""
        if not condition:
            self.result.problems.append(f"failed: {what}")

    def expect_restarts(self, least: int, most: int) -> None:
        """Check the number of restarts of both jobs; too few restarts mean that the fault did not happen."""
        self.result.restarts = self.system.restarts(self.pair, self._began_ms)
        self.expect(
            least <= self.result.restarts <= most, f"{least} to {most} restarts (observed: {self.result.restarts})"
        )

    def documents(self, suffix: str) -> list[dict[str, Any]]:
        """Return the documents committed to an output topic since the case began."""
        topic = topic_name(self.pair.prefix, suffix)
        start = {place: offset for place, offset in self._start.items() if place[0] == topic}
        with CommittedReader(self.system.broker, [topic], start) as reader:
            return [orjson.loads(record.value) for record in reader.read_to_end() if record.value is not None]

    # ---- ledger

    def settle(self, *, histories: bool = True) -> Balance:
        """Wait for all outcomes in Kafka and in Postgres, reconcile both and store the counts in the result.

        Args:
            histories: also compare the features of each decision with those of an undisturbed evaluator, which shows
                a customer's state that was lost, applied twice or mixed up.
        """
        result = self.result
        kafka = await_balance(self.system.broker, self.pair.prefix, self.ledger, limit_s=PATIENCE_S, start=self._start)
        result.sent, result.kafka = self.ledger.sent, LedgerCounts.of(kafka)
        result.incidents, result.degraded = kafka.incidents, kafka.degraded
        if not kafka.is_as_expected:
            result.problems += [f"Kafka: {line.strip()}" for line in kafka.lines()[:6]]
        archived = self._await_postgres()
        result.postgres = LedgerCounts.of(archived)
        if not archived.is_as_expected:
            result.problems += [f"Postgres: {line.strip()}" for line in archived.lines()[:6]]
        agrees = (kafka.alerts, kafka.reasons) == (archived.alerts, archived.reasons)
        self.expect(agrees, "Kafka and Postgres hold the same alerts and reasons")
        result.restarts = self.system.restarts(self.pair, self._began_ms)
        if histories:
            self._compare_histories()
        return kafka

    def kafka_first(self) -> tuple[float, int]:
        """Wait for all outcomes in Kafka; return the seconds that took and the number of outcomes then in Postgres."""
        await_balance(self.system.broker, self.pair.prefix, self.ledger, limit_s=PATIENCE_S, start=self._start)
        seconds = time.time() - self._began_ms / 1000
        with open_archive(self.system.stack.settings().postgres_dsn, self.pair.transactions, self._customers) as tables:
            return seconds, tables.count(self._first_offsets())

    def _first_offsets(self) -> dict[int, int]:
        return dict(reversed(self.ledger.expected.coordinates()))

    def _await_postgres(self) -> Balance:
        first = self._first_offsets()
        settings = self.system.stack.settings()
        with open_archive(settings.postgres_dsn, self.pair.transactions, self._customers) as tables:
            last, since = -1, time.monotonic()

            def complete() -> bool:
                nonlocal last, since
                count = tables.count(first)
                if count != last:
                    last, since = count, time.monotonic()
                return count >= self.ledger.sent or time.monotonic() - since > PATIENCE_S

            wait_for(complete, limit_s=10 * PATIENCE_S, what="Postgres to hold the outcomes", interval_s=0.5)
            # The archive writes alerts separately from decisions.
            account = balance(self.ledger, tables.outcomes(self.ledger, first))
            end = time.monotonic() + PATIENCE_S
            while account.alerts_missing and time.monotonic() < end:
                time.sleep(0.5)
                account = balance(self.ledger, tables.outcomes(self.ledger, first))
            return account

    def _compare_histories(self) -> None:
        """Compare features in send order; each customer is in one partition, which keeps that order."""
        good = [record for record in self._sent.values() if record.fate is Fate.DECIDED]
        transactions = []
        for record in good:
            transaction = parse_transaction(record.value, time.time_ns() // 1_000_000)
            if isinstance(transaction, Transaction):
                transactions.append(transaction)
        expected = {
            (item.transaction.customer_id, item.transaction.transaction_id): tuple(item.features)
            for item in replay_features(transactions)
        }
        decided = {
            (item["customer_id"], item["transaction_id"]): tuple(item["features"].values())
            for item in self.documents("decisions")
            if item["customer_id"].startswith(self._customers)
        }
        wrong = [key for key, features in expected.items() if decided.get(key) != features]
        self.result.histories = len(expected)
        self.expect(expected, "there are decisions whose features can be compared")
        self.expect(not wrong, f"features equal those of an undisturbed evaluator ({len(wrong)} differ: {wrong[:3]})")
