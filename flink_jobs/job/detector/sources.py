"""Kafka in: raw bytes with their coordinates, keyed in the JVM.

The Table API's ``raw`` format is the only PyFlink source that keeps a record's bytes and gives its partition, offset,
timestamp and headers. SQL packs them into the one string that ``core.source_record`` takes apart, and finds the key,
so that no Python runs before the detector: a Python ``key_by`` would cost as much as the model.
"""

from typing import Final

from pyflink.common import TypeInformation, Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import ChangelogMode, DataTypes, Schema, StreamTableEnvironment

from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES
from flink_jobs.kafka.broker import Broker, sql_options

_START: Final = {
    "committed": "'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'earliest'",
    "earliest": "'scan.startup.mode' = 'earliest-offset'",
    "latest": "'scan.startup.mode' = 'latest-offset'",
}

# Field order and separators are those of core.source_record. A tombstone has no value, so a flag says which it is.
# Headers become JSON with base64 values; almost no record has any, so the common case skips the conversion.
_PACKED_HEAD: Final = """
    CAST(`partition` AS STRING) || U&'\\000A' || CAST(`offset` AS STRING) || U&'\\000A'
    || COALESCE(CAST(record_time AS STRING), '') || U&'\\000A'
    || CASE WHEN CARDINALITY(headers) > 0 THEN JSON_STRING(headers) ELSE '' END || U&'\\000A'
    || routing_key || U&'\\000A'
"""
_PACKED: Final = f"{_PACKED_HEAD} || CASE WHEN payload IS NULL THEN 'N' ELSE 'V' || DECODE(payload, 'ISO-8859-1') END"
# A cast to fewer bytes cuts. Bytes that it leaves whole are the same array, so that comparing costs nothing.
_IS_READ: Final = (
    f"CAST(payload AS VARBINARY({MAX_PAYLOAD_BYTES})) = CAST(payload AS VARBINARY({MAX_PAYLOAD_BYTES + 1}))"
)
# Of what is too large to be read, no more than a dead letter keeps goes on: its length, its digest and its beginning.
_PACKED_OR_CUT: Final = f"""{_PACKED_HEAD}
    || CASE WHEN payload IS NULL THEN 'N'
            WHEN {_IS_READ} THEN 'V' || DECODE(payload, 'ISO-8859-1')
            ELSE 'L' || CAST(CHAR_LENGTH(DECODE(payload, 'ISO-8859-1')) AS STRING) || U&'\\000A'
                 || SHA256(payload) || U&'\\000A'
                 || DECODE(CAST(payload AS VARBINARY({MAX_PAYLOAD_KEPT_BYTES})), 'ISO-8859-1') END
"""

# Only the document itself says whose transaction it is. What has no readable customer id is spread over the subtasks
# by its offset: it touches no state, and garbage must not gather on one of them. Line feeds end a packed field.
_ROUTING_KEY: Final = f"""
    REPLACE(COALESCE(
        CASE WHEN {_IS_READ}
             THEN JSON_VALUE(DECODE(payload, 'UTF-8'), '$.customer_id' NULL ON EMPTY NULL ON ERROR) END,
        'unroutable-' || CAST(`offset` AS STRING)), U&'\\000A', ' ')
"""


def kafka_table(
    t_env: StreamTableEnvironment,
    name: str,
    topic: str,
    *,
    broker: Broker,
    group_id: str,
    start_from: str,
    idle_timeout_ms: int,
    bounded: bool = False,
) -> None:
    """Declare a source table over a topic: payload and coordinates, a watermark on Kafka's own timestamp.

    Committed records only: the detector itself writes to the control topic, in the transactions of its checkpoints.
    A partition without records stops holding back the watermark after ``idle_timeout_ms``.
    """
    bound = ", 'scan.bounded.mode' = 'latest-offset'" if bounded else ""
    t_env.execute_sql(f"""
        CREATE TEMPORARY TABLE {name} (
            payload BYTES,
            `partition` INT METADATA VIRTUAL,
            `offset` BIGINT METADATA VIRTUAL,
            record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            headers MAP<STRING, BYTES> METADATA VIRTUAL,
            WATERMARK FOR record_time AS record_time - INTERVAL '5' SECOND
        ) WITH (
            'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'raw',
            {sql_options(broker.connector())}, 'properties.group.id' = '{group_id}',
            'properties.isolation.level' = 'read_committed',
            'scan.topic-partition-discovery.interval' = '60 s',
            'scan.watermark.idle-timeout' = '{idle_timeout_ms} ms', {_START[start_from]}{bound}
        )""")


def keyed_records(t_env: StreamTableEnvironment, table: str) -> KeyedStream:
    """Return the packed records of a source table, keyed by customer id without a Python operator."""
    value_type = Types.STRING()
    row_type = Types.ROW([Types.STRING(), value_type])
    columns = {"k": "routing_key", "v": _PACKED_OR_CUT}
    stream = _stream(t_env, columns, f"(SELECT *, {_ROUTING_KEY} AS routing_key FROM {table})", row_type)  # noqa: S608
    j_keyed = stream._j_data_stream.keyBy(  # noqa: SLF001 - PyFlink offers no JVM key selector
        get_gateway().jvm.KeyByKeySelector(), Types.ROW([Types.STRING()]).get_java_type_info()
    )
    return KeyedStream(j_keyed, value_type, stream)


def packed_records(t_env: StreamTableEnvironment, table: str) -> DataStream:
    """Return the packed records of a source table as rows of one string."""
    return _stream(t_env, {"v": _PACKED}, _unrouted(table), Types.ROW([Types.STRING()]))


def packed_sql(table: str) -> str:
    """Return the query of the packed records of a source table, as column ``v``."""
    return f"SELECT {_PACKED} AS v FROM {_unrouted(table)}"  # noqa: S608 - our own names


def _unrouted(table: str) -> str:
    return f"(SELECT *, '' AS routing_key FROM {table})"  # noqa: S608 - our own names


def _stream(
    t_env: StreamTableEnvironment, columns: dict[str, str], origin: str, row_type: TypeInformation
) -> DataStream:
    """Return string columns of a query as a stream of rows, with its timestamps and watermarks.

    The conversion to a stream swallows watermarks unless it is given a rowtime, which it takes out of the row.
    """
    selected = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    table = t_env.sql_query(f"SELECT {selected}, record_time AS rowtime FROM {origin}")  # noqa: S608 - our own names
    schema = Schema.new_builder()
    for name in columns:
        schema.column(name, DataTypes.STRING())
    schema.column_by_metadata("rowtime", DataTypes.TIMESTAMP_LTZ(3))
    stream = t_env.to_changelog_stream(table, schema.build(), ChangelogMode.insert_only())
    # The planner's external row type means nothing to Python operators; the row type does, and the rows are the same.
    transformation = stream._j_data_stream.getTransformation()  # noqa: SLF001 - no public way to name the type
    transformation.setOutputType(row_type.get_java_type_info())
    return stream
