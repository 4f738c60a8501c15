"""Main of the job of merchants: decisions and labels in; one row per entity and slot of six hours out.

It is optional: only models with inputs of merchants, terminals, devices or cards need it (docs/histories.md).
``STREAMFLOW_RISK_ENTITIES`` names whose history it keeps. Decisions are the transactions that were accepted, each once,
so a redelivered transaction does not count twice.

    decisions --(key: entity)--+--> history of each entity ---> merchant-risk
    labels -----(key: entity)--+

``streamflow submit merchants`` runs it, or ``flink run -py flink_jobs/job/merchants.py`` with ``STREAMFLOW_*`` set.
"""

from typing import Final

from pyflink.common import Duration, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.contracts import uids
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.job.detector.sinks import SinkTable, kafka_sink, table_name
from flink_jobs.job.detector.sources import keyed_rows
from flink_jobs.job.environment import check_broker, check_restore, run, stream_environment
from flink_jobs.job.merchant_operator import LATENESS_MIN, MerchantFunction
from flink_jobs.job.merchant_source import DECISIONS, LABELS, labels, purchases
from flink_jobs.job.pin import pin_uids
from flink_jobs.kafka.topics import partition_count
from flink_jobs.settings import Settings

JOB_NAME: Final = "streamflow-merchants"


def build_merchants(env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, settings: Settings) -> None:
    """Add the flow from decisions and labels to rows of entities; ``env.execute()`` then runs it."""
    topic = topic_name(settings.topic_prefix, "merchant-risk")
    broker, group = settings.broker("merchants"), f"{settings.topic_prefix}-merchants"
    decided, labelled = purchases(env, t_env, settings), labels(t_env, settings)
    # One watermark for both: the sources' own would let labels, which have no event time here, stop time or set it.
    events = decided.union(labelled).assign_timestamps_and_watermarks(
        WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_minutes(LATENESS_MIN)).with_idleness(
            Duration.of_millis(settings.idle_timeout_ms)
        )
    )
    function = MerchantFunction(
        settings.state_ttl_days, settings.entities, is_short_history_accepted=settings.risk_accept_short_history
    )
    rows = (
        keyed_rows(events, Types.STRING())
        .process(function, output_type=Types.STRING())
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
        sources={DECISIONS: uids.MERCHANTS_DECISIONS_SOURCE, LABELS: uids.MERCHANTS_LABELS_SOURCE},
        sinks={table_name(topic): uids.MERCHANTS_SINK},
    )


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
