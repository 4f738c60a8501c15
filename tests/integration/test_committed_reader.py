"""The reader of committed records, on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import pytest
from confluent_kafka import Producer

from flink_jobs.errors import UserError
from flink_jobs.kafka import topics
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader, Record
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for

pytestmark = pytest.mark.stack

Outcome = Literal["commit", "abort"]
Write = Callable[[Outcome, int], None]
COMMITTED_AND_ABORTED: Final[tuple[tuple[Outcome, int], ...]] = (
    ("commit", 3),
    ("abort", 2),
    ("commit", 1),
    ("abort", 1),
)


@pytest.fixture
def transactions(stack: Stack) -> Iterator[Write]:
    """Return a function that writes a transaction of some records to ``reader-test`` and commits or aborts it."""
    with topics.admin(stack.settings().broker()) as admin:
        admin.create_topics({"reader-test": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    producer = Producer({**stack.settings().broker().librdkafka(), "transactional.id": "reader-test"})
    producer.init_transactions(240)

    def write(outcome: Outcome, records: int) -> None:
        producer.begin_transaction()
        for _ in range(records):
            producer.produce("reader-test", b"value", headers=[("empty", None), ("full", b"x")])
        producer.flush()
        if outcome == "commit":
            producer.commit_transaction(240)
        else:
            producer.abort_transaction(240)

    yield write
    with topics.admin(stack.settings().broker()) as admin:
        admin.delete_topics(["reader-test"])


def read_until(reader: CommittedReader, offset: int) -> list[Record]:
    """Read until a record with this offset has come.

    A commit returns before the broker has written the end of the transaction to the partition.
    """
    found: list[Record] = []

    def has_come() -> bool:
        found.extend(reader.read_to_end())
        return any(record.offset == offset for record in found)

    wait_for(has_come, limit_s=240, what=f"the record with offset {offset}")
    return found


def test_a_reader_returns_committed_records_only_and_continues_where_it_ended(
    stack: Stack, transactions: Write
) -> None:
    broker, place = stack.settings().broker(), ("reader-test", 0)
    with CommittedReader(broker, ["reader-test"]) as reader:
        assert list(reader.read_to_end()) == []
        for outcome, records in COMMITTED_AND_ABORTED:
            transactions(outcome, records)
        # The end of a transaction takes an offset: 0 1 2 end, 4 5 aborted, 7 end, 9 aborted.
        found = read_until(reader, 7)
        assert [record.offset for record in found] == [0, 1, 2, 7]
        assert (found[0].value, found[0].headers) == (b"value", (("empty", b""), ("full", b"x")))
        assert list(reader.read_to_end()) == []
        transactions("commit", 1)
        assert [record.offset for record in read_until(reader, 11)] == [11]
        wait_for(lambda: reader.end_offsets() == {place: 13}, limit_s=240, what="the end of the transaction")
        assert reader.end_offsets() == {place: 13}
        at = [reader.read_at(*place, offset) for offset in range(14)]
        assert [record.offset for record in at if record is not None] == [0, 1, 2, 7, 11]
        reader.seek_to_end()
        assert list(reader.read_to_end()) == []
    with CommittedReader(broker, ["reader-test", "streamflow.control"], {place: 2}, only=[place]) as reader:
        assert [record.offset for record in reader.read_to_end()] == [2, 7, 11]


def test_a_reader_of_a_missing_topic_or_broker_says_so(stack: Stack) -> None:
    with pytest.raises(UserError, match=r"there is no topic nowhere at"):
        CommittedReader(stack.settings().broker(), ["nowhere"])
    with pytest.raises(UserError, match=r"no Kafka broker answers at 127\.0\.0\.1:9 with PLAINTEXT"):
        CommittedReader(Broker("127.0.0.1:9"), ["streamflow.control"])
