"""Main of the archive job: writes the output topics to Postgres in batches.

It is a separate job, so a slow or unavailable Postgres never delays decisions and alerts on Kafka: only this job falls
behind, waits and catches up. It reads committed messages only and upserts by the primary key of each table, so a replay
after a failure writes the same rows again. A message that its table rejects becomes a dead letter.

    decisions, alerts, dlq, audit, labels, user-actions ---> archive_rows ---> Postgres
                              ^                                   |
                              +--------(rejected messages)--------+

``streamflow submit archive`` runs it, or ``flink run -py flink_jobs/job/archive.py`` with ``STREAMFLOW_*`` set.
"""

from typing import Final

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import udf

from flink_jobs.contracts import uids
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.job.archiver.rows import check_tables
from flink_jobs.job.archiver.tables import ARCHIVES
from flink_jobs.job.archiver.writer import BATCH_OPTIONS, ArchiveRows
from flink_jobs.job.detector.sinks import SinkTable, kafka_sink, table_name
from flink_jobs.job.detector.sources import kafka_table, packed_sql
from flink_jobs.job.environment import check_broker, check_restore, run, stream_environment
from flink_jobs.job.pin import pin_uids
from flink_jobs.settings import Settings

JOB_NAME: Final = "streamflow-archive"


def build_archive(env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, settings: Settings) -> None:
    """Add the flow of every archived topic to an environment; ``env.execute()`` then runs them."""
    topics = {suffix: contract.name for suffix, contract in load_contracts(settings.topic_prefix).items()}
    group_id, broker = f"{settings.topic_prefix}-archive", settings.broker("archive")
    for archive in ARCHIVES:
        kafka_table(
            t_env,
            source_table(archive.topic),
            topics[archive.topic],
            broker=broker,
            group_id=group_id,
            start_from="committed",
            idle_timeout_ms=settings.idle_timeout_ms,
        )
    for option, value in BATCH_OPTIONS.items():
        t_env.get_config().set(option, value)
    # The plan contains the password, as that of every sink: never log it.
    writer = ArchiveRows(settings.postgres_dsn_as("writer"), topics, settings.trace_target())
    t_env.create_temporary_function("archive_rows", udf(writer, result_type=DataTypes.STRING(), func_type="pandas"))
    records = " UNION ALL ".join(
        f"SELECT '{archive.topic}' AS topic, v FROM ({packed_sql(source_table(archive.topic))})"  # noqa: S608 - our own names
        for archive in ARCHIVES
    )
    _fixed_view(t_env, "records", records, "topic", "v")
    _fixed_view(t_env, "answers", "SELECT archive_rows(topic, v) FROM records", "letter")
    letters = t_env.to_data_stream(t_env.sql_query("SELECT letter FROM answers WHERE letter IS NOT NULL"))
    statements = t_env.create_statement_set()
    kafka_sink(
        t_env,
        statements,
        letters,
        SinkTable(table_name(topics["dlq"]), topics["dlq"], settings.sink_guarantee),
        broker=broker,
        transactional_id_prefix=f"{group_id}-{topics['dlq']}",
        transaction_timeout_ms=settings.transaction_timeout_ms,
    )
    statements.attach_as_datastream()
    pin_uids(
        env,
        sources={source_table(name): f"{name}-archive-source" for name in uids.ARCHIVED},
        sinks={table_name(topics["dlq"]): uids.ARCHIVE_LETTERS_SINK},
    )


def source_table(topic: str) -> str:
    """Return the name of the source table of a topic, by its suffix."""
    return f"{table_name(topic)}_topic"


def _fixed_view(t_env: StreamTableEnvironment, name: str, query: str, *columns: str) -> None:
    """Declare a view as a boundary for the planner, by converting it to a stream and back.

    Without it, the planner would move the function before the union, which needs one Python process for each topic, and
    would merge the condition after it into the same step, where the function might be called twice.
    """
    stream = t_env.to_data_stream(t_env.sql_query(query))
    t_env.create_temporary_view(name, t_env.from_data_stream(stream).alias(*columns))


def main(settings: Settings) -> None:
    """Build and submit the job."""
    check_broker(settings, settings.broker("archive"), transactional=settings.sink_guarantee == "exactly_once")
    check_tables(settings.postgres_dsn_as("writer"))
    env, t_env = stream_environment(settings)
    check_restore(t_env, "archive", settings)
    build_archive(env, t_env, settings)
    env.execute_async(JOB_NAME)


if __name__ == "__main__":
    run(main, JOB_NAME)
