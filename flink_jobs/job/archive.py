"""Main of the archive job: the output topics into Postgres, in SQL, without Python at run time.

A job of its own, so that a slow or dead Postgres never holds up decisions and alerts on Kafka: this job falls behind,
restarts and catches up, the detector does not notice. It reads committed messages only and upserts by the primary key
of each table, so a replay after a failure rewrites equal rows.

Run by ``streamflow submit archive``, or ``flink run -py flink_jobs/job/archive.py`` with ``STREAMFLOW_*`` set.
"""

from typing import Final

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.broker import sql_options
from flink_jobs.contracts.registry import load_contracts
from flink_jobs.job import uids
from flink_jobs.job.archive_tables import ARCHIVES, SOURCE_FIELDS, Archive
from flink_jobs.job.environment import check_broker, check_restore, run, stream_environment
from flink_jobs.job.pin import pin_uids
from flink_jobs.settings import Settings

JOB_NAME: Final = "streamflow-archive"


def source_ddl(archive: Archive, topic: str, settings: Settings) -> str:
    """Return the declaration of an output topic as a source of committed JSON messages."""
    fields = {name: kind for name, kind in archive.columns.items() if name not in archive.renamed}
    columns = ", ".join(f"`{name}` {kind}" for name, kind in (fields | SOURCE_FIELDS.get(archive.topic, {})).items())
    lenient = "" if archive.written_by_us else ", 'json.ignore-parse-errors' = 'true'"
    return f"""
        CREATE TEMPORARY TABLE {archive.topic}_topic ({columns}) WITH (
            'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
            {sql_options(settings.broker("archive").connector())},
            'properties.group.id' = '{settings.topic_prefix}-archive',
            'properties.isolation.level' = 'read_committed',
            'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'earliest'{lenient}
        )"""


def sink_ddl(archive: Archive, settings: Settings) -> str:
    """Return the declaration of the database table. The password is in it: never log it."""
    columns = ", ".join(f"`{name}` {kind}" for name, kind in archive.columns.items())
    key = ", ".join(f"`{name}`" for name in archive.primary_key)
    user, secret = settings.postgres_login("writer")
    password = secret.get_secret_value().replace("'", "''")
    return f"""
        CREATE TEMPORARY TABLE {archive.topic}_table ({columns}, PRIMARY KEY ({key}) NOT ENFORCED) WITH (
            'connector' = 'jdbc', 'url' = '{settings.postgres_jdbc_url}', 'table-name' = '{archive.table}',
            'username' = '{user}', 'password' = '{password}',
            'sink.buffer-flush.max-rows' = '1000', 'sink.buffer-flush.interval' = '1 s', 'sink.max-retries' = '3'
        )"""


def insert_sql(archive: Archive) -> str:
    """Return the statement that carries a topic into its table."""
    selected = ", ".join(archive.renamed.get(name, f"`{name}`") for name in archive.columns)
    where = f" WHERE {archive.only}" if archive.only else ""
    return f"INSERT INTO {archive.topic}_table SELECT {selected} FROM {archive.topic}_topic{where}"  # noqa: S608


def build_archive(env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, settings: Settings) -> None:
    """Add the flow of every archived topic to an environment; ``env.execute()`` then runs them."""
    contracts = load_contracts(settings.topic_prefix)
    statements = t_env.create_statement_set()
    for archive in ARCHIVES:
        t_env.execute_sql(source_ddl(archive, contracts[archive.topic].name, settings))
        t_env.execute_sql(sink_ddl(archive, settings))
        statements.add_insert_sql(insert_sql(archive))
    statements.attach_as_datastream()
    pin_uids(
        env,
        sources={f"{name}_topic": f"{name}-archive-source" for name in uids.ARCHIVED},
        sinks={f"{name}_table": f"{name}-archive-sink" for name in uids.ARCHIVED},
    )


def main(settings: Settings) -> None:
    """Build and submit the job."""
    check_broker(settings, settings.broker("archive"))
    env, t_env = stream_environment(settings)
    check_restore(t_env, "archive", settings)
    build_archive(env, t_env, settings)
    env.execute_async(JOB_NAME)


if __name__ == "__main__":
    run(main, JOB_NAME)
