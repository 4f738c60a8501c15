"""Kafka sinks: ``key LF value`` strings from the detector become keyed messages."""

from typing import Final, NamedTuple

from pyflink.datastream import DataStream
from pyflink.table import StatementSet, StreamTableEnvironment

from flink_jobs.kafka.broker import Broker, sql_options
from flink_jobs.kafka.guarantee import Guarantee

_GUARANTEE: Final[dict[Guarantee, str]] = {"exactly_once": "exactly-once", "at_least_once": "at-least-once"}

_LINGER_MS: Final[dict[Guarantee, int]] = {"exactly_once": 200, "at_least_once": 1}
"""How long the producer collects a batch. A transaction can collect longer: the checkpoint sends the rest. Without a
transaction a message is to be readable at once; messages that come while a batch is sent form the next batch."""


def table_name(topic: str) -> str:
    """Return the table name of a topic: SQL identifiers have no dots and dashes."""
    return topic.replace(".", "_").replace("-", "_")


def producer_properties(guarantee: Guarantee, transaction_timeout_ms: int) -> dict[str, str]:
    """Return the options of the Kafka producer of a sink."""
    timeout = {"transaction.timeout.ms": str(transaction_timeout_ms)} if guarantee == "exactly_once" else {}
    return {
        **timeout,
        "linger.ms": str(_LINGER_MS[guarantee]),
        "batch.size": "262144",
        "compression.type": "lz4",
    }


class SinkTable(NamedTuple):
    """The table of a sink."""

    name: str
    topic: str
    guarantee: Guarantee


def kafka_sink(
    t_env: StreamTableEnvironment,
    statements: StatementSet,
    stream: DataStream,
    table: SinkTable,
    *,
    broker: Broker,
    transactional_id_prefix: str,
    transaction_timeout_ms: int,
) -> None:
    """Write a stream of ``key LF value`` strings to a topic.

    With ``exactly_once``, readers of committed data see a message after the next checkpoint. With ``at_least_once``,
    they see it immediately, and again after a failure. Beware: an ``at_least_once`` sink drops the transactions that a
    savepoint of an ``exactly_once`` sink with the same uid holds.
    """
    name, topic, guarantee = table
    prefix = f"'sink.transactional-id-prefix' = '{transactional_id_prefix}'," if guarantee == "exactly_once" else ""
    producer = producer_properties(guarantee, transaction_timeout_ms)
    t_env.execute_sql(f"""
        CREATE TEMPORARY TABLE {name} (k STRING, v STRING) WITH (
            'connector' = 'kafka', 'topic' = '{topic}', {sql_options(broker.connector())},
            'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
            'sink.delivery-guarantee' = '{_GUARANTEE[guarantee]}', {prefix}
            {sql_options({f"properties.{option}": value for option, value in producer.items()})}
        )""")
    t_env.create_temporary_view(f"{name}_lines", t_env.from_data_stream(stream).alias("line"))
    statements.add_insert_sql(f"""
        INSERT INTO {name}
        SELECT SUBSTR(line, 1, cut - 1), SUBSTR(line, cut + 1)
        FROM (SELECT line, POSITION(U&'\\000A' IN line) AS cut FROM {name}_lines)""")  # noqa: S608 - our own names
