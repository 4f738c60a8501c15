"""The graph of the detect job, in the order in which the data flows.

    transactions --(key: customer id)--+--> fraud detector --+--> decisions
    control -------(broadcast)---------+                     +--> alerts
       ^                                                     +--> dead letters
       |                                                     +--> audit
       +-------(the guard of an experiment stops it)---------+

The archive job writes the four outputs to Postgres.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyflink.common import Types
from pyflink.datastream import DataStream, OutputTag, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.contracts import uids
from flink_jobs.job.detector.operator import (
    ALERTS,
    AUDIT,
    CONFIG_STATE,
    CONTROL,
    DEAD_LETTERS,
    FraudDetectorFunction,
)
from flink_jobs.job.detector.operator_settings import DetectorSettings
from flink_jobs.job.detector.sinks import kafka_sink, table_name
from flink_jobs.job.detector.sources import kafka_table, keyed_records, packed_records
from flink_jobs.job.pin import pin_uids
from flink_jobs.kafka.broker import Broker


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics the detector reads and writes."""

    transactions: str
    control: str
    decisions: str
    alerts: str
    dead_letters: str
    audit: str


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the graph reads from Kafka and writes to it."""

    topics: Topics
    broker: Broker
    group_id: str
    start_from: str
    guarantee: str
    transaction_timeout_ms: int
    idle_timeout_ms: int
    bounded: bool = False
    """Stop at the offsets that are the latest when the job starts (benchmarks and tests)."""


def build_detector(
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
    wiring: Wiring,
    settings: DetectorSettings,
    extend: Callable[[DataStream], DataStream] | None = None,
) -> None:
    """Add the whole detector to an environment; ``env.execute()`` then runs it.

    Args:
        env: the stream environment.
        t_env: the table environment over it.
        wiring: topics, broker and guarantee.
        settings: the settings of the operator.
        extend: adds operators between the detector and the decisions sink (an upgrade test does).
    """
    topics = wiring.topics
    _add_source(t_env, "transactions", topics.transactions, wiring, wiring.start_from)
    # No control message may be missed: without a savepoint the topic is read from its beginning.
    _add_source(t_env, "control", topics.control, wiring, "earliest")
    transactions = keyed_records(t_env, "transactions")
    control = packed_records(t_env, "control")
    decisions = (
        transactions.connect(control.broadcast(CONFIG_STATE))
        .process(FraudDetectorFunction(settings), output_type=Types.STRING())
        .uid(uids.DETECTOR)
        .name("fraud detector")
    )
    outputs = [
        (_side_output(decisions, ALERTS), topics.alerts),
        (_side_output(decisions, DEAD_LETTERS), topics.dead_letters),
        (_side_output(decisions, AUDIT), topics.audit),
        (_side_output(decisions, CONTROL), topics.control),
    ]
    if extend is not None:
        decisions = extend(decisions)
    _add_sinks(t_env, [(decisions, topics.decisions), *outputs], wiring)
    pin_uids(
        env,
        sources={"transactions": uids.TRANSACTIONS_SOURCE, "control": uids.CONTROL_SOURCE},
        sinks={
            table_name(topics.decisions): uids.DECISIONS_SINK,
            table_name(topics.alerts): uids.ALERTS_SINK,
            table_name(topics.dead_letters): uids.DEAD_LETTERS_SINK,
            table_name(topics.audit): uids.AUDIT_SINK,
            table_name(topics.control): uids.CONTROL_SINK,
        },
    )


def _add_source(t_env: StreamTableEnvironment, name: str, topic: str, wiring: Wiring, start_from: str) -> None:
    """Declare the source table of a topic."""
    kafka_table(
        t_env,
        name,
        topic,
        broker=wiring.broker,
        group_id=wiring.group_id,
        start_from=start_from,
        idle_timeout_ms=wiring.idle_timeout_ms,
        bounded=wiring.bounded,
    )


def _add_sinks(t_env: StreamTableEnvironment, outputs: Sequence[tuple[DataStream, str]], wiring: Wiring) -> None:
    """Write each stream to its topic."""
    statements = t_env.create_statement_set()
    for stream, topic in outputs:
        kafka_sink(
            t_env,
            statements,
            stream,
            topic,
            broker=wiring.broker,
            guarantee=wiring.guarantee,
            transactional_id_prefix=f"{wiring.group_id}-{topic}",
            transaction_timeout_ms=wiring.transaction_timeout_ms,
        )
    statements.attach_as_datastream()


def _side_output(stream: DataStream, tag: OutputTag) -> DataStream:
    """Return a side output directly; PyFlink's own method adds an identity function in Python."""
    return DataStream(stream._j_data_stream.getSideOutput(tag.get_java_output_tag()))  # noqa: SLF001
