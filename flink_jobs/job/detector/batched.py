"""The batched job graph: Java's sources, operator and sinks, which carry bytes (``flink_jobs/crossing``, ADR 27)."""

from collections.abc import Mapping, Sequence
from typing import Final

from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JError
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.data_stream import _create_j_data_stream_python_function_info
from pyflink.fn_execution.flink_fn_execution_pb2 import UserDefinedDataStreamFunction
from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import get_j_env_configuration

from flink_jobs.contracts import uids
from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES
from flink_jobs.errors import UserError
from flink_jobs.job.detector import batch_runner
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.kafka.broker import Broker
from flink_jobs.settings import Crossing, ExecutionMode

_JAVA: Final = "io.streamflow.crossing.JobParts"
_PREFIX: Final = "properties."


def is_available() -> bool:
    """Return whether this release's jar of the crossing is in the client's class path, which the cluster shares."""
    try:
        get_gateway().jvm.java.lang.Class.forName(_JAVA)
        return bool(_parts().PROTOCOL == batch_runner.PROTOCOL)
    except Py4JError:  # no jar, or the jar of a release whose answers have no version
        return False


def is_batched(asked: Crossing, execution_mode: ExecutionMode) -> bool:
    """Return whether a job uses the batched crossing; ``auto`` does where it can run.

    Raises:
        UserError: the batched crossing was asked for and cannot run here.
    """
    if asked == "single":
        return False
    why = None
    if execution_mode != "thread":
        why = f"the batched crossing needs thread mode, not {execution_mode} mode"
    elif not is_available():
        why = "the class path has no streamflow-crossing.jar of this release"
    if why is None or asked == "auto":
        return why is None
    raise UserError(why, "run `make setup` for the jar, or set STREAMFLOW_CROSSING=single")


def byte_source(  # noqa: PLR0913 - the options of a source
    env: StreamExecutionEnvironment,
    name: str,
    topic: str,
    *,
    broker: Broker,
    group_id: str,
    start_from: str,
    idle_timeout_ms: int,
    bounded: bool,
    is_keyed: bool,
    is_marked: bool,
) -> JavaObject:
    """Return the Java stream of a topic's packed records: key and bytes, or without a key one string.

    Records of a topic that ``is_marked`` have a flag in small letters: actions on accounts and rows of merchants.
    """
    return _parts().source(
        env._j_stream_execution_environment,  # noqa: SLF001 - PyFlink has no Kafka source for bytes
        name,
        topic,
        java_properties(broker, group_id),
        start_from,
        bounded,
        idle_timeout_ms,
        is_keyed,
        is_marked,
        MAX_PAYLOAD_BYTES,
        MAX_PAYLOAD_KEPT_BYTES,
    )


def java_properties(broker: Broker, group_id: str) -> JavaObject:
    """Return the properties of a Java source: committed records only, and new partitions within a minute."""
    properties = {
        "group.id": group_id,
        "isolation.level": "read_committed",
        "partition.discovery.interval.ms": "60000",
    }
    return _java_map(_client(broker) | properties)


def united(streams: Sequence[JavaObject]) -> JavaObject:
    """Return one Java stream with the elements of several."""
    first, *others = [DataStream(stream) for stream in streams]
    return (first.union(*others) if others else first)._j_data_stream  # noqa: SLF001


def batched_detector(  # noqa: PLR0913 - the parts and options of an operator
    env: StreamExecutionEnvironment,
    transactions: JavaObject,
    actions: JavaObject,
    control: JavaObject,
    function: FraudDetectorFunction,
    *,
    records: int,
    delay_ms: int,
    decoded_states: int,
    has_merchants: bool,
) -> DataStream:
    """Return the decisions of the batched operator; side outputs are those of the function.

    Args:
        env: the stream environment.
        transactions: keyed packed records.
        actions: keyed packed records of actions on accounts.
        control: packed control messages, and packed rows of merchants where the detector reads them.
        function: the detector.
        records: number of records that end a batch.
        delay_ms: age of the first record that ends a batch.
        decoded_states: number of customers whose decoded state Python keeps.
        has_merchants: whether rows of merchants come with the control messages.
    """
    gateway = get_gateway()
    side_outputs = gateway.jvm.java.util.ArrayList()
    for name in batch_runner.SIDE_OUTPUTS:
        side_outputs.add(name)
    plan = gateway.jvm.io.streamflow.crossing.Plan(
        uids.CUSTOMER_STATE,
        uids.CONFIG_STATE,
        uids.CONFIG_KEY,
        uids.MERCHANT_ROWS if has_merchants else "",
        batch_runner.MODULE,
        side_outputs,
        records,
        delay_ms,
        decoded_states,
    )
    info = _create_j_data_stream_python_function_info(
        function, UserDefinedDataStreamFunction.KEYED_CO_BROADCAST_PROCESS
    )
    configuration = get_j_env_configuration(env._j_stream_execution_environment)  # noqa: SLF001 - as PyFlink does
    return DataStream(_parts().detector(transactions, actions, control, configuration, info, plan))


def byte_sink(
    stream: DataStream,
    topic: str,
    *,
    name: str,
    broker: Broker,
    properties: Mapping[str, str],
    transactional_id_prefix: str | None,
) -> None:
    """Write a stream of ``key LF value`` strings to a topic; without a prefix at least once."""
    _parts().sink(
        stream._j_data_stream,  # noqa: SLF001
        name,
        topic,
        _java_map(_client(broker) | dict(properties)),
        transactional_id_prefix,
    )


def _parts() -> JavaObject:
    return get_gateway().jvm.io.streamflow.crossing.JobParts


def _client(broker: Broker) -> dict[str, str]:
    return {name.removeprefix(_PREFIX): value for name, value in broker.connector().items()}


def _java_map(values: Mapping[str, str]) -> JavaObject:
    java = get_gateway().jvm.java.util.HashMap()
    for name, value in values.items():
        java.put(name, value)
    return java
