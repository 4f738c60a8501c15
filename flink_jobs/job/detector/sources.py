"""Kafka sources: raw bytes with their coordinates, keyed in the JVM.

The Table API's ``raw`` format is the only PyFlink source that keeps a record's bytes and provides its partition,
offset, timestamp and headers. SQL packs them into the string that ``core.parsing.source_record`` unpacks, and computes
the key, so that no Python runs before the detector: a Python ``key_by`` would cost as much as the model.
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

# Field order and separators are those of core.parsing.source_record. A flag marks a tombstone, which has no value.
# Headers become JSON with base64 values; almost no record has any, so the common case skips the conversion.
_PACKED_HEAD: Final = """
    CAST(`partition` AS STRING) || U&'\\000A' || CAST(`offset` AS STRING) || U&'\\000A'
    || COALESCE(CAST(record_time AS STRING), '') || U&'\\000A'
    || CASE WHEN CARDINALITY(headers) > 0 THEN JSON_STRING(headers) ELSE '' END || U&'\\000A'
    || routing_key || U&'\\000A'
"""
_PACKED: Final = f"{_PACKED_HEAD} || CASE WHEN payload IS NULL THEN 'N' ELSE 'V' || DECODE(payload, 'ISO-8859-1') END"
# A cast to fewer bytes truncates. Bytes that it does not truncate are the same array, so comparing is free.
_IS_READ: Final = (
    f"CAST(payload AS VARBINARY({MAX_PAYLOAD_BYTES})) = CAST(payload AS VARBINARY({MAX_PAYLOAD_BYTES + 1}))"
)
# An oversized payload is replaced by its length, its digest and the beginning that a dead letter holds. Actions on
# accounts have their flags in small letters.
_PACKED_OR_CUT: Final = f"""{_PACKED_HEAD}
    || CASE WHEN payload IS NULL THEN 'N'
            WHEN {_IS_READ} THEN 'V' || DECODE(payload, 'ISO-8859-1')
            ELSE 'L' || CAST(CHAR_LENGTH(DECODE(payload, 'ISO-8859-1')) AS STRING) || U&'\\000A'
                 || SHA256(payload) || U&'\\000A'
                 || DECODE(CAST(payload AS VARBINARY({MAX_PAYLOAD_KEPT_BYTES})), 'ISO-8859-1') END
"""

_PACKED_ACTION: Final = _PACKED_OR_CUT.replace("'N'", "'n'").replace("'V' ||", "'v' ||").replace("ELSE 'L'", "ELSE 'l'")

# The key says whose row it is, for a row that cannot be read.
_KEY_OF_ROW: Final = "REPLACE(COALESCE(DECODE(message_key, 'UTF-8'), ''), U&'\\000A', ' ')"
_PACKED_ROW_OF_MERCHANT: Final = _PACKED.replace("'N'", "'n'").replace("'V' ||", "'v' ||")

# The routing key is the customer id of a JSON document, or the message key of an Avro record, which begins with byte 0;
# the detector compares it with the id that it reads. A record without a readable customer id is routed by its offset:
# it uses no state, and invalid records must not all go to one subtask. Line feeds separate packed fields.
_ROUTING_KEY: Final = f"""
    REPLACE(COALESCE(
        CASE WHEN {_IS_READ} AND CAST(payload AS VARBINARY(1)) = CAST(X'00' AS VARBINARY(1))
             THEN DECODE(message_key, 'UTF-8')
             WHEN {_IS_READ}
             THEN JSON_VALUE(DECODE(payload, 'UTF-8'), '$.customer_id' NULL ON EMPTY NULL ON ERROR) END,
        'unroutable-' || CAST(`offset` AS STRING)), U&'\\000A', ' ')
"""


def kafka_table(  # noqa: PLR0913 - the options of a source
    t_env: StreamTableEnvironment,
    name: str,
    topic: str,
    *,
    broker: Broker,
    group_id: str,
    start_from: str,
    idle_timeout_ms: int,
    bounded: bool = False,
    has_key: bool = False,
    event_time: str | None = None,
) -> None:
    """Declare the source table of a topic: payload, coordinates, and a watermark on Kafka's timestamp.

    It reads committed records only, because the detector itself writes to the control topic in the transactions of its
    checkpoints. A partition without records holds back the watermark for at most ``idle_timeout_ms``. With ``has_key``
    the table also has the message key, as ``message_key``.
    ``event_time`` is an expression that gives the watermark in place of Kafka's timestamp, as column ``event_time``.
    """
    column = "message_key BYTES, " if has_key else ""
    key = (
        ", 'key.format' = 'raw', 'key.fields' = 'message_key', 'value.fields-include' = 'EXCEPT_KEY'" if has_key else ""
    )
    computed = "" if event_time is None else f"event_time AS {event_time},"
    time_column = "record_time" if event_time is None else "event_time"
    bound = ", 'scan.bounded.mode' = 'latest-offset'" if bounded else ""
    t_env.execute_sql(f"""
        CREATE TEMPORARY TABLE {name} (
            {column}payload BYTES,
            `partition` INT METADATA VIRTUAL,
            `offset` BIGINT METADATA VIRTUAL,
            record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            headers MAP<STRING, BYTES> METADATA VIRTUAL,
            {computed}
            WATERMARK FOR {time_column} AS {time_column} - INTERVAL '5' SECOND
        ) WITH (
            'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'raw',
            {sql_options(broker.connector())}, 'properties.group.id' = '{group_id}',
            'properties.isolation.level' = 'read_committed',
            'scan.topic-partition-discovery.interval' = '60 s',
            'scan.watermark.idle-timeout' = '{idle_timeout_ms} ms', {_START[start_from]}{bound}{key}
        )""")


def keyed_records(t_env: StreamTableEnvironment, transactions: str, actions: str) -> KeyedStream:
    """Return the packed records of two source tables, keyed by customer id without a Python operator.

    Records of the second table are marked as actions on accounts.
    """
    value_type = Types.STRING()
    row_type = Types.ROW([Types.STRING(), value_type])
    stream = _routed(t_env, transactions, _PACKED_OR_CUT, row_type)
    return keyed_rows(stream.union(_routed(t_env, actions, _PACKED_ACTION, row_type)), value_type)


def keyed_rows(stream: DataStream, value_type: TypeInformation) -> KeyedStream:
    """Return a stream of keys and values, keyed without a Python operator; Python gets the values."""
    j_keyed = stream._j_data_stream.keyBy(  # noqa: SLF001 - PyFlink offers no JVM key selector
        get_gateway().jvm.KeyByKeySelector(), Types.ROW([Types.STRING()]).get_java_type_info()
    )
    return KeyedStream(j_keyed, value_type, stream)


def _routed(t_env: StreamTableEnvironment, table: str, packed: str, row_type: TypeInformation) -> DataStream:
    """Return the routing key and the packed record of each record of a source table."""
    columns = {"k": "routing_key", "v": packed}
    return routed_stream(t_env, columns, f"(SELECT *, {_ROUTING_KEY} AS routing_key FROM {table})", row_type)  # noqa: S608


def packed_records(t_env: StreamTableEnvironment, table: str, *, has_merchants: bool = False) -> DataStream:
    """Return the packed records of a source table as rows of one string; those of merchants are marked, with a key."""
    packed, origin = _PACKED, _unrouted(table)
    if has_merchants:
        packed = _PACKED_ROW_OF_MERCHANT
        origin = f"(SELECT *, {_KEY_OF_ROW} AS routing_key FROM {table})"  # noqa: S608 - our own names
    return routed_stream(t_env, {"v": packed}, origin, Types.ROW([Types.STRING()]))


def packed_sql(table: str) -> str:
    """Return the query of the packed records of a source table, as column ``v``."""
    return f"SELECT {_PACKED} AS v FROM {_unrouted(table)}"  # noqa: S608 - our own names


def _unrouted(table: str) -> str:
    return f"(SELECT *, '' AS routing_key FROM {table})"  # noqa: S608 - our own names


def routed_stream(
    t_env: StreamTableEnvironment,
    columns: dict[str, str],
    origin: str,
    row_type: TypeInformation,
    time_column: str = "record_time",
) -> DataStream:
    """Return string columns of a query as a stream of rows, with its timestamps and watermarks.

    The conversion to a stream drops watermarks unless the query has a rowtime column, which it removes from the row.
    """
    selected = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    table = t_env.sql_query(f"SELECT {selected}, {time_column} AS rowtime FROM {origin}")  # noqa: S608 - our own names
    schema = Schema.new_builder()
    for name in columns:
        schema.column(name, DataTypes.STRING())
    schema.column_by_metadata("rowtime", DataTypes.TIMESTAMP_LTZ(3))
    stream = t_env.to_changelog_stream(table, schema.build(), ChangelogMode.insert_only())
    # Python operators do not accept the planner's external row type; they accept the row type of the same rows.
    transformation = stream._j_data_stream.getTransformation()  # noqa: SLF001 - no public way to name the type
    transformation.setOutputType(row_type.get_java_type_info())
    return stream
