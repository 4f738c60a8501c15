"""Create the topics the contracts declare."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from flink_jobs.contracts.topic_contracts import TopicContract, load_contracts
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import connection_error
from flink_jobs.kafka.retries import retried

LOCAL_REPLICATION = 1  # one broker

# The client logs every refused connection while a caller waits for the broker to start.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


CREATE_LIMIT_S = 60.0
"""A busy machine needs several seconds to create a dozen topics."""


@contextlib.contextmanager
def admin(broker: Broker, *, timeout_s: float = 5.0, request_s: float | None = None) -> Iterator[KafkaAdminClient]:
    """Open an admin client.

    Args:
        broker: address of Kafka and login.
        timeout_s: longest wait for the connection in seconds.
        request_s: longest wait for the answer to a request in seconds; None: the same.

    Raises:
        UserError: no broker answers.
    """
    try:
        client = KafkaAdminClient(
            **broker.client(),
            request_timeout_ms=int((request_s or timeout_s) * 1000),
            bootstrap_timeout_ms=int(timeout_s * 1000),
        )
    except KafkaError as error:
        raise connection_error(broker, error) from None
    try:
        yield client
    finally:
        client.close()


def is_ready(broker: Broker) -> bool:
    """Return whether the broker answers metadata requests now."""
    try:
        with admin(broker, timeout_s=2.0) as client:
            client.list_topics()
    except (UserError, KafkaError):
        return False
    return True


def contracts(prefix: str) -> dict[str, TopicContract]:
    """Return the topic contracts by the topic names this installation uses."""
    return {contract.name: contract for contract in load_contracts(prefix).values()}


def create_topics(
    broker: Broker, prefix: str, replicas: int = LOCAL_REPLICATION, only: Collection[str] | None = None
) -> list[str]:
    """Create the topics that are missing; return their names. ``only`` names the suffixes to create; default: all.

    Raises:
        UserError: a topic exists with another number of partitions than its contract has.
    """
    wanted = {name: item for name, item in contracts(prefix).items() if only is None or item.suffix in only}
    with admin(broker, request_s=CREATE_LIMIT_S) as client:
        present = {topic["name"]: len(topic["partitions"]) for topic in retried(client.describe_topics)}
        for name, contract in wanted.items():
            if present.get(name, contract.partitions) != contract.partitions:
                raise UserError(
                    f"topic {name} has {present[name]} partitions, its contract has {contract.partitions}",
                    "the number decides the partition of each customer: start empty with `streamflow down --wipe`",
                )
        missing = {
            name: {
                "num_partitions": contract.partitions,
                "replication_factor": replicas,
                "configs": dict(contract.config),
            }
            for name, contract in wanted.items()
            if name not in present
        }
        if missing:
            client.create_topics(missing, wait_for_metadata=True)
    return sorted(missing)


def partition_count(broker: Broker, topic: str) -> int:
    """Return the number of partitions of a topic.

    Raises:
        UserError: no broker answers, or there is no such topic.
    """
    with admin(broker) as client:
        try:
            present = {item["name"]: len(item["partitions"]) for item in retried(client.describe_topics)}
        except KafkaError as error:
            raise connection_error(broker, error) from None
    if not present.get(topic):
        raise UserError(f"there is no topic {topic}", "run `streamflow up`, which creates the topics")
    return present[topic]
