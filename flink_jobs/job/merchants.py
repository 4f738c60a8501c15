"""Main of the job of merchants: decisions and labels in; one row per entity and slot of six hours out.

It is optional: only models with inputs of merchants, terminals, devices or cards need it (docs/model.md).
``STREAMFLOW_RISK_ENTITIES`` names whose history it keeps. Decisions are the transactions that were accepted, each once,
so a redelivered transaction does not count twice.

    decisions --(key: entity)--+--> history of each entity ---> merchant-risk
    labels -----(key: entity)--+

``streamflow submit merchants`` runs it, or ``flink run -py flink_jobs/job/merchants.py`` with ``STREAMFLOW_*`` set.
"""

from typing import Final

from pyflink.common import Duration, Types, WatermarkStrategy
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.contracts import uids
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.keys import SEPARATOR
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.job.detector.sinks import SinkTable, kafka_sink, table_name
from flink_jobs.job.detector.sources import kafka_table, keyed_rows, routed_stream
from flink_jobs.job.environment import check_broker, check_restore, run, stream_environment
from flink_jobs.job.merchant_operator import CODES, DECISION, LABEL, LATENESS_MIN, MerchantFunction
from flink_jobs.job.pin import pin_uids
from flink_jobs.kafka.topics import partition_count
from flink_jobs.settings import Settings

JOB_NAME: Final = "streamflow-merchants"
_DECISIONS, _LABELS = "decisions_topic", "labels_topic"
# CAST, because Flink's generated code of a watermark cannot throw the exception that DECODE declares.
_TIME_MS: Final = "JSON_VALUE(CAST(payload AS STRING), '$.event_time_ms' NULL ON EMPTY NULL ON ERROR)"
# A transaction may be dated up to a day ahead of the clock; it must not begin a slot before its time.
_EVENT_TIME: Final = f"COALESCE(LEAST(record_time, TO_TIMESTAMP_LTZ(TRY_CAST({_TIME_MS} AS BIGINT), 3)), record_time)"
# A label is dated 1970: it must not bring time forward.
_LONG_AGO: Final = "LEAST(record_time, TO_TIMESTAMP_LTZ(0, 3))"


def build_merchants(env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, settings: Settings) -> None:
    """Add the flow from decisions and labels to rows of entities; ``env.execute()`` then runs it."""
    topic = topic_name(settings.topic_prefix, "merchant-risk")
    broker, group = settings.broker("merchants"), f"{settings.topic_prefix}-merchants"
    for table, suffix, event_time in ((_DECISIONS, "decisions", _EVENT_TIME), (_LABELS, "labels", _LONG_AGO)):
        kafka_table(
            t_env,
            table,
            topic_name(settings.topic_prefix, suffix),
            broker=broker,
            group_id=group,
            start_from="earliest",  # without a savepoint it learns the history that the topics still hold
            idle_timeout_ms=settings.idle_timeout_ms,
            event_time=event_time,
        )
    decisions = _elements(t_env, _DECISIONS, DECISION, settings.entities)
    labels = _elements(t_env, _LABELS, LABEL, settings.entities)
    # One watermark for both: the sources' own would let labels, which have no event time here, stop time or set it.
    events = decisions.union(labels).assign_timestamps_and_watermarks(
        WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_minutes(LATENESS_MIN)).with_idleness(
            Duration.of_millis(settings.idle_timeout_ms)
        )
    )
    rows = (
        keyed_rows(events, Types.STRING())
        .process(MerchantFunction(settings.state_ttl_days, settings.entities), output_type=Types.STRING())
        .uid(uids.MERCHANTS)
        .name("merchants")
    )
    statements = t_env.create_statement_set()
    kafka_sink(
        t_env,
        statements,
        rows,
        SinkTable(table_name(topic), topic, "exactly_once"),
        broker=broker,
        transactional_id_prefix=f"{group}-{topic}",
        transaction_timeout_ms=settings.transaction_timeout_ms,
    )
    statements.attach_as_datastream()
    pin_uids(
        env,
        sources={_DECISIONS: uids.MERCHANTS_DECISIONS_SOURCE, _LABELS: uids.MERCHANTS_LABELS_SOURCE},
        sinks={table_name(topic): uids.MERCHANTS_SINK},
    )


def _elements(t_env: StreamTableEnvironment, table: str, origin: str, entities: tuple[Entity, ...]) -> DataStream:
    """Return the elements of the records of a table: one for each entity, with its key.

    A decision has none for an entity that it does not name. A label has one, under the key of an entity without id: it
    is counted there.
    """
    pairs = [(f"'{origin}{CODES[entity]}'", _key(entity, may_be_absent=origin == LABEL)) for entity in entities]
    if len(pairs) == 1:
        head, key = pairs[0]
        rows = f"(SELECT payload, event_time, {head} AS head, {key} AS entity_key FROM {table})"  # noqa: S608 - our names
    else:
        listed = ", ".join(f"ROW({head}, {key})" for head, key in pairs)
        rows = f"{table} CROSS JOIN UNNEST(ARRAY[{listed}]) AS event (head, entity_key)"
    return routed_stream(
        t_env,
        {"k": "entity_key", "v": "head || COALESCE(DECODE(payload, 'ISO-8859-1'), '')"},
        f"{rows} WHERE entity_key IS NOT NULL",
        Types.ROW([Types.STRING(), Types.STRING()]),
        "event_time",
    )


def _key(entity: Entity, *, may_be_absent: bool) -> str:
    """Return the SQL expression of an entity's key (``entity_key``); without its id the key is NULL, or has no id."""
    name = f"JSON_VALUE(DECODE(payload, 'UTF-8'), '$.{entity}' NULL ON EMPTY NULL ON ERROR)"
    if may_be_absent:
        name = f"COALESCE({name}, '')"
    return name if entity is Entity.MERCHANT else f"'{entity}' || U&'\\{ord(SEPARATOR):04X}' || {name}"


def check_parallelism(parallelism: int, partitions: int, topic: str) -> None:
    """Check that each subtask can read decisions: one that reads only labels would hold back the time of all.

    Raises:
        UserError: the job has more subtasks than the topic of decisions has partitions.
    """
    if parallelism > partitions:
        raise UserError(
            f"the job of merchants has the parallelism {parallelism}, but {topic} has {partitions} partitions: "
            "a subtask without decisions would hold back the rows of all merchants",
            f"submit it with a parallelism of at most {partitions}",
        )


def main(settings: Settings) -> None:
    """Build and submit the job."""
    if not settings.entities:
        raise UserError(
            "the job `merchants` has nothing to keep: STREAMFLOW_RISK_ENTITIES is empty",
            "set it to merchant, or to several of merchant,terminal,device,card, for this job and for the detector",
            ErrorCode.SETTINGS_INVALID,
        )
    broker = settings.broker("merchants")
    check_broker(settings, broker, transactional=True)
    env, t_env = stream_environment(settings)
    decisions = topic_name(settings.topic_prefix, "decisions")
    check_parallelism(env.get_parallelism(), partition_count(broker, decisions), decisions)
    check_restore(t_env, "merchants", settings)
    build_merchants(env, t_env, settings)
    env.execute_async(JOB_NAME)


if __name__ == "__main__":
    run(main, JOB_NAME)
