"""The elements of the job of merchants: one for each entity that a decision or a label names, with its key.

Java reads a decision once and picks the fields of a history (``PurchaseSchema.java``). Without its jar, or with
``STREAMFLOW_CROSSING=single``, SQL finds each key with a pass of its own and hands over the whole decision, which
Python parses again for each entity: the same rows, slower. SQL leaves out bytes that are no JSON object; with Java they
are counted as unreadable. Savepoints fit both.

Some decisions are followed by a beat, which tells the operator under a key of its own that the job runs. In Java, the
first decision of each reader is one of them.
"""

from typing import Final

from py4j.protocol import Py4JError
from pyflink.common import Types
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment
from pyflink.util.java_utils import to_jarray

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.keys import SEPARATOR, entity_key
from flink_jobs.job.detector.batched import java_properties
from flink_jobs.job.detector.sources import kafka_table, routed_stream
from flink_jobs.job.merchant_operator import BEAT, CODES, DECISION, LABEL
from flink_jobs.settings import Settings

DECISIONS, LABELS = "decisions_topic", "labels_topic"
ELEMENTS: Final = 1
"""Version of Java's elements; ``JobParts.ELEMENTS`` is the same number."""
BEAT_EVERY: Final = 32
"""A decision at one of the first two of so many offsets of a partition makes a beat. Two, because every second offset
is the marker of a Kafka transaction where each transaction has one decision."""
_ELEMENT: Final = Types.ROW([Types.STRING(), Types.STRING()])
# CAST, because Flink's generated code of a watermark cannot throw the exception that DECODE declares.
_TIME_MS: Final = "JSON_VALUE(CAST(payload AS STRING), '$.event_time_ms' NULL ON EMPTY NULL ON ERROR)"
# A transaction may be dated up to a day ahead of the clock; it must not begin a slot before its time.
_EVENT_TIME: Final = f"COALESCE(LEAST(record_time, TO_TIMESTAMP_LTZ(TRY_CAST({_TIME_MS} AS BIGINT), 3)), record_time)"
# A label is dated 1970: it must not bring time forward.
_LONG_AGO: Final = "LEAST(record_time, TO_TIMESTAMP_LTZ(0, 3))"
_SEPARATOR: Final = f"U&'\\{ord(SEPARATOR):04X}'"


def purchases(env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, settings: Settings) -> DataStream:
    """Return the elements of the topic of decisions: keys and texts."""
    if settings.crossing == "single" or not is_available():
        _table(t_env, settings, DECISIONS, "decisions", _EVENT_TIME)
        return elements(t_env, DECISIONS, DECISION, settings.entities)
    gateway, entities = get_gateway(), settings.entities
    names = [entity.value for entity in entities]
    codes, prefixes = [CODES[entity] for entity in entities], [entity_key(entity, "") for entity in entities]
    stream = gateway.jvm.io.streamflow.crossing.JobParts.purchases(
        env._j_stream_execution_environment,  # noqa: SLF001 - PyFlink has no Kafka source for bytes
        DECISIONS,
        topic_name(settings.topic_prefix, "decisions"),
        java_properties(settings.broker("merchants"), _group(settings)),
        settings.idle_timeout_ms,
        *(to_jarray(gateway.jvm.java.lang.String, texts) for texts in (names, codes, prefixes)),
        BEAT_EVERY,
    )
    return DataStream(stream)


def labels(t_env: StreamTableEnvironment, settings: Settings) -> DataStream:
    """Return the elements of the topic of labels: keys and texts. There are few, so SQL makes them in any case."""
    _table(t_env, settings, LABELS, "labels", _LONG_AGO)
    return elements(t_env, LABELS, LABEL, settings.entities)


def is_available() -> bool:
    """Return whether the client's class path, which the cluster shares, has the Java part of this release."""
    try:
        return bool(get_gateway().jvm.io.streamflow.crossing.JobParts.ELEMENTS == ELEMENTS)
    except (Py4JError, TypeError):  # no jar, or the jar of another release
        return False


def elements(t_env: StreamTableEnvironment, table: str, origin: str, entities: tuple[Entity, ...]) -> DataStream:
    """Return the elements of the records of a table: one for each entity, with its key.

    A decision has none for an entity that it does not name. A label has one, under the key of an entity without id: it
    is counted there.
    """
    pairs = [(f"'{origin}{CODES[entity]}'", _key(entity, may_be_absent=origin == LABEL)) for entity in entities]
    if origin == DECISION:
        pairs.append((f"'{BEAT}'", f"CASE WHEN MOD(`offset`, {BEAT_EVERY}) < 2 THEN {_SEPARATOR} END"))
    listed = ", ".join(f"ROW({head}, {key})" for head, key in pairs)
    whole = "head || COALESCE(DECODE(payload, 'ISO-8859-1'), '')"
    return routed_stream(
        t_env,
        {"k": "entity_key", "v": f"CASE WHEN head = '{BEAT}' THEN head ELSE {whole} END"},
        f"{table} CROSS JOIN UNNEST(ARRAY[{listed}]) AS event (head, entity_key) WHERE entity_key IS NOT NULL",
        _ELEMENT,
        "event_time",
    )


def _key(entity: Entity, *, may_be_absent: bool) -> str:
    """Return the SQL expression of an entity's key (``entity_key``); without its id the key is NULL, or has no id."""
    name = f"JSON_VALUE(DECODE(payload, 'UTF-8'), '$.{entity}' NULL ON EMPTY NULL ON ERROR)"
    if may_be_absent:
        name = f"COALESCE({name}, '')"
    return name if entity is Entity.MERCHANT else f"'{entity}' || {_SEPARATOR} || {name}"


def _table(t_env: StreamTableEnvironment, settings: Settings, name: str, suffix: str, event_time: str) -> None:
    kafka_table(
        t_env,
        name,
        topic_name(settings.topic_prefix, suffix),
        broker=settings.broker("merchants"),
        group_id=_group(settings),
        start_from="earliest",  # without a savepoint it learns the history that the topics still hold
        idle_timeout_ms=settings.idle_timeout_ms,
        event_time=event_time,
    )


def _group(settings: Settings) -> str:
    return f"{settings.topic_prefix}-merchants"
