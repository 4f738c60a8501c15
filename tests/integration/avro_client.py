"""A producer of another team: Confluent's Avro serializer, which finds the schema and registers none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.schema_registry import subject_of
from flink_jobs.waiting import wait_for
from tests.avro_samples import our_schema
from tests.integration import jobs

if TYPE_CHECKING:
    from flink_jobs.local.stack import Stack
    from tests.registry_server import RegistryServer

SCHEMA = json.dumps({**our_schema(), "fields": [{"name": "shelf", "type": "string"}, *our_schema()["fields"]]})
"""The contract's schema with one more field."""
REASONS = ["INVALID_COUNTRY", "KEY_MISMATCH", "MALFORMED_AVRO", "UNKNOWN_SCHEMA"]
"""Reasons of the dead letters of ``send``."""


def register(registry: RegistryServer, prefix: str) -> None:
    """Register the schema, as the team's delivery does before its producer runs."""
    registry.register(subject_of(topic_name(prefix, "transactions")), SCHEMA)


def transaction(number: int, **fields: object) -> dict[str, Any]:
    return {
        "shelf": "t-1",
        "transaction_id": f"avro-{number}",
        "customer_id": f"avro-{number % 3} Zo\u00eb",
        "amount_minor": 1_000 + number,
        "currency": "EUR",
        "event_time_ms": 1_704_067_200_000 + number * 60_000,
        "location": {"lat": 48.0, "lon": 2.5},
        **fields,
    }


def send(stack: Stack, url: str, prefix: str, count: int = 20, schema: str = SCHEMA) -> None:
    """Send ``count`` transactions, then one record for each reason of ``REASONS``."""
    topic = topic_name(prefix, "transactions")
    place = SerializationContext(topic, MessageField.VALUE)
    producer = Producer({"bootstrap.servers": stack.settings().kafka_bootstrap_servers, "enable.idempotence": True})
    with SchemaRegistryClient({"url": url}) as registry:
        serialize = AvroSerializer(registry, schema, conf={"auto.register.schemas": False})
        for number in range(count):
            document = transaction(number)
            producer.produce(topic, key=document["customer_id"], value=serialize(document, place))
        good = serialize(transaction(count), place)
        producer.produce(topic, key="c", value=serialize(transaction(count, country="Germany"), place))
    producer.produce(topic, key="another customer", value=good)
    producer.produce(topic, key="c", value=good[:-1])
    producer.produce(topic, value=b"\0\xff\xff\xff\xff" + good[5:])
    assert producer.flush(120) == 0


def dead_letters(stack: Stack, prefix: str) -> list[str]:
    """Return the reasons of the dead letters in order, after as many are committed as ``send`` causes."""

    def reasons() -> list[str]:
        return sorted(item["reason"] for item in jobs.committed(stack, "dlq", prefix))

    wait_for(lambda: len(reasons()) >= len(REASONS), limit_s=240, what="the dead letters")
    return reasons()
