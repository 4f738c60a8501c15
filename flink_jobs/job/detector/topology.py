"""The graph of the detect job, in the order in which the data flows.

    transactions --(key: customer id)--+--> fraud detector --+--> decisions
    user-actions --(key: customer id)--+                     +--> alerts
    control -------(broadcast)---------+                     +--> replies
    merchant-risk -(broadcast, optional)
       ^                                                     |
       |                                                     +--> dead letters
       |                                                     +--> audit
       +-------(the guard of an experiment stops it)---------+

Alerts and replies leave at once; the other outputs leave with the next checkpoint (``outputs``). The archive job writes
decisions, alerts, dead letters and audit records to Postgres.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyflink.common import Types
from pyflink.datastream import DataStream, OutputTag, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.contracts import uids
from flink_jobs.job.detector.batched import batched_detector, byte_sink, byte_source, united
from flink_jobs.job.detector.merchant_rows import MERCHANT_ROWS
from flink_jobs.job.detector.operator import CONFIG_STATE, FraudDetectorFunction
from flink_jobs.job.detector.operator_settings import DetectorSettings
from flink_jobs.job.detector.outputs import OUTPUTS, Output
from flink_jobs.job.detector.sinks import SinkTable, kafka_sink, producer_properties, table_name
from flink_jobs.job.detector.sources import kafka_table, keyed_records, packed_records
from flink_jobs.job.pin import pin_uids
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.guarantee import Guarantee

_START: Final = "earliest"
"""No control message and no action may be missed: without a savepoint these topics are read from their beginning."""
_MERCHANTS: Final = "merchant_risk"


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics the detector reads and writes."""

    transactions: str
    control: str
    actions: str
    merchants: str | None
    """The rows of merchants; ``None``: the detector does not read them."""
    outputs: Mapping[str, str]
    """Full name of each topic of ``OUTPUTS``, by suffix."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the graph reads from Kafka and writes to it."""

    topics: Topics
    broker: Broker
    group_id: str
    start_from: str
    guarantee: Guarantee
    """Of the outputs without a fixed guarantee."""
    transaction_timeout_ms: int
    idle_timeout_ms: int
    is_canary: bool = False
    """The sinks have uids of their own, so that they restore no transaction of the running job."""
    is_batched: bool = False
    """Java's sources, operator and sinks; else PyFlink's operator between SQL sources and sinks."""
    batch_records: int = 256
    batch_delay_ms: int = 5
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
    if wiring.is_batched:
        scored = _batched_detector(env, wiring, settings)
    else:
        scored = _single_detector(t_env, wiring, settings)
    decisions = scored.uid(uids.DETECTOR).name("fraud detector")
    main = decisions if extend is None else extend(decisions)
    streams = [main if item.tag is None else _side_output(decisions, item.tag) for item in OUTPUTS]
    if wiring.is_batched:
        _add_byte_sinks(streams, wiring)
    else:
        _add_sinks(t_env, streams, wiring)
    pin_uids(
        env,
        sources={
            "transactions": uids.TRANSACTIONS_SOURCE,
            "control": uids.CONTROL_SOURCE,
            "user_actions": uids.ACTIONS_SOURCE,
            **({} if wiring.topics.merchants is None else {_MERCHANTS: uids.MERCHANT_RISK_SOURCE}),
        },
        sinks={_table(item, wiring): _sink_uid(item, wiring) for item in OUTPUTS},
    )


def _single_detector(t_env: StreamTableEnvironment, wiring: Wiring, settings: DetectorSettings) -> DataStream:
    """Return the decisions of PyFlink's operator, which hands over one record at a time."""
    topics = wiring.topics
    _add_source(t_env, "transactions", topics.transactions, wiring, wiring.start_from)
    _add_source(t_env, "control", topics.control, wiring, _START)
    _add_source(t_env, "user_actions", topics.actions, wiring, _START)
    broadcast = packed_records(t_env, "control")
    if topics.merchants is not None:
        _add_source(t_env, _MERCHANTS, topics.merchants, wiring, _START)
        broadcast = broadcast.union(packed_records(t_env, _MERCHANTS, has_merchants=True))
    control = broadcast.broadcast(CONFIG_STATE, *([] if topics.merchants is None else [MERCHANT_ROWS]))
    return (
        keyed_records(t_env, "transactions", "user_actions")
        .connect(control)
        .process(FraudDetectorFunction(settings), output_type=Types.STRING())
    )


def _batched_detector(env: StreamExecutionEnvironment, wiring: Wiring, settings: DetectorSettings) -> DataStream:
    """Return the decisions of Java's operator, which hands over batches of records."""
    topics = wiring.topics
    transactions, actions, control, *merchants = [
        byte_source(
            env,
            name,
            topic,
            broker=wiring.broker,
            group_id=wiring.group_id,
            start_from=start_from,
            idle_timeout_ms=wiring.idle_timeout_ms,
            bounded=wiring.bounded,
            is_keyed=name in {"transactions", "user_actions"},
            is_marked=name in {"user_actions", _MERCHANTS},
        )
        for name, topic, start_from in (
            ("transactions", topics.transactions, wiring.start_from),
            ("user_actions", topics.actions, _START),
            ("control", topics.control, _START),
            (_MERCHANTS, topics.merchants, _START),
        )
        if topic is not None
    ]
    return batched_detector(
        env,
        transactions,
        actions,
        united([control, *merchants]),
        FraudDetectorFunction(settings),
        records=wiring.batch_records,
        delay_ms=wiring.batch_delay_ms,
        decoded_states=settings.state_cache_customers,
        has_merchants=topics.merchants is not None,
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
        has_key=name != "control",
    )


def _add_sinks(t_env: StreamTableEnvironment, streams: Sequence[DataStream], wiring: Wiring) -> None:
    """Write the stream of each output to its topic."""
    statements = t_env.create_statement_set()
    for output, stream in zip(OUTPUTS, streams, strict=True):
        topic = wiring.topics.outputs[output.topic]
        kafka_sink(
            t_env,
            statements,
            stream,
            SinkTable(_table(output, wiring), topic, output.guarantee or wiring.guarantee),
            broker=wiring.broker,
            transactional_id_prefix=f"{wiring.group_id}-{topic}",
            transaction_timeout_ms=wiring.transaction_timeout_ms,
        )
    statements.attach_as_datastream()


def _add_byte_sinks(streams: Sequence[DataStream], wiring: Wiring) -> None:
    """Write the stream of each output to its topic with Java's sinks."""
    for output, stream in zip(OUTPUTS, streams, strict=True):
        topic, guarantee = wiring.topics.outputs[output.topic], output.guarantee or wiring.guarantee
        byte_sink(
            stream,
            topic,
            name=_table(output, wiring),
            broker=wiring.broker,
            properties=producer_properties(guarantee, wiring.transaction_timeout_ms),
            transactional_id_prefix=f"{wiring.group_id}-{topic}" if guarantee == "exactly_once" else None,
        )


def _table(output: Output, wiring: Wiring) -> str:
    """Return the table name of an output; a topic can have two outputs."""
    name = table_name(wiring.topics.outputs[output.topic])
    return f"{name}_at_once" if output.guarantee == "at_least_once" else name


def _sink_uid(output: Output, wiring: Wiring) -> str:
    return uids.canary_sink(output.uid) if wiring.is_canary else output.uid


def _side_output(stream: DataStream, tag: OutputTag) -> DataStream:
    """Return a side output directly; PyFlink's own method adds an identity function in Python."""
    return DataStream(stream._j_data_stream.getSideOutput(tag.get_java_output_tag()))  # noqa: SLF001
