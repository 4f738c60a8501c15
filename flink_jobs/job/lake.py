"""Main of the lake job: writes decisions as Parquet files to a folder or a bucket, exactly once.

It is optional: Postgres holds every decision up to a certain volume (docs/lake.md). It has no Python operator, so the
JVM does all the work.

    decisions, typed ------> complete? ----> <lake>/decisions/loaded_on=.../part-*
                                |
    decisions, raw bytes --> no JSON? -----> <lake>/rejected_decisions/loaded_on=.../part-*

``streamflow submit lake`` runs it, or ``flink run -py flink_jobs/job/lake.py`` with ``STREAMFLOW_*`` set.
"""

import os
from pathlib import Path
from typing import Final

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment
from pyflink.util.java_utils import get_j_env_configuration

from flink_jobs.contracts import uids
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.job import lake_tables as tables
from flink_jobs.job.environment import check_broker, check_restore, run, stream_environment
from flink_jobs.job.pin import pin_uids, transformations
from flink_jobs.settings import Settings

JOB_NAME: Final = "streamflow-lake"
_TYPED, _RAW = "decisions_topic", "decisions_bytes"


def build_lake(env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, settings: Settings) -> None:
    """Add the flow from the decisions topic to the files; ``env.execute()`` then runs it.

    Raises:
        UserError: the path of the lake is not set, or its jars are missing.
    """
    path = lake_uri(settings)
    # Both sinks read the same query: without this, the planner would read the topic once for each.
    t_env.get_config().set("table.optimizer.reuse-optimize-block-with-digest-enabled", "true")
    topic, broker = topic_name(settings.topic_prefix, "decisions"), settings.broker("lake")
    group = f"{settings.topic_prefix}-lake"
    # The format converts a field of another type to NULL, which `detail` reports, and skips what is no JSON object.
    json = "'format' = 'json', 'json.ignore-parse-errors' = 'true', 'json.decode.json-parser.enabled' = 'false'"
    for statement in (
        tables.topic_ddl(_TYPED, tables.message_columns(), json, topic, broker, group),
        tables.topic_ddl(_RAW, {"payload": "BYTES"}, "'format' = 'raw'", topic, broker, f"{group}-check"),
        tables.decisions_ddl(path),
        tables.rejected_ddl(path),
    ):
        t_env.execute_sql(statement)
    t_env.create_temporary_view("judged", t_env.sql_query(tables.judged_sql(_TYPED)))
    statements = t_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO {tables.DECISIONS} {tables.decisions_sql('judged')}")
    statements.add_insert_sql(f"INSERT INTO {tables.REJECTED} {tables.rejected_sql('judged', _RAW)}")
    statements.attach_as_datastream()
    _name_file_sinks(env)
    pin_uids(
        env,
        sources={_TYPED: uids.LAKE_SOURCE, _RAW: uids.LAKE_CHECK_SOURCE},
        sinks={tables.DECISIONS: uids.LAKE_END, tables.REJECTED: uids.LAKE_REJECTED_END},
    )


def _name_file_sinks(env: StreamExecutionEnvironment) -> None:
    """Set the uids of the two file writers, and name the stateless sinks behind them, which are both called "end".

    The writer that reads the raw bytes too is that of the rejected messages.
    """
    for end in transformations(env):
        if end.getClass().getSimpleName() != "SinkTransformation":
            continue
        (writer,) = end.getInputs()
        is_rejected = any(item.getName().startswith(_RAW) for item in writer.getTransitivePredecessors())
        end.setName(tables.REJECTED if is_rejected else tables.DECISIONS)
        writer.setUid(uids.LAKE_REJECTED_WRITER if is_rejected else uids.LAKE_WRITER)


def lake_uri(settings: Settings) -> str:
    """Return the URI of the lake.

    Raises:
        UserError: it is not set.
    """
    if settings.lake_path is None:
        raise UserError(
            "STREAMFLOW_LAKE_PATH is not set, so the lake job has no place for its files",
            "set it to a folder or s3://bucket/prefix: see docs/lake.md",
        )
    path = settings.lake_path.rstrip("/")
    return Path(path).as_uri() if path.startswith("/") else path


def lake_jars(folder: Path) -> list[str]:
    """Return the URLs of the jars that only this job loads; every TaskManager has them in the same folder."""
    found = sorted(folder.glob("*.jar"))
    if not found:
        raise UserError(f"no jars of the lake job in {folder}", "run `make setup-marts`, or set STREAMFLOW_LAKE_JARS")
    return [jar.resolve().as_uri() for jar in found]


def check_plugin(path: str) -> None:
    """Check that Flink can write to S3, if the lake is there: its own error does not say what to do.

    Raises:
        UserError: Flink has no plugin for S3.
    """
    folder = os.environ.get("FLINK_PLUGINS_DIR")
    if path.startswith("s3://") and folder and not any(Path(folder).glob("*/flink-s3-fs-hadoop-*.jar")):
        raise UserError(
            f"the lake is in S3, and {folder} has no plugin flink-s3-fs-hadoop",
            "run `make setup-marts`, then restart the stack with `streamflow down` and `streamflow up`",
        )


def main(settings: Settings) -> None:
    """Build and submit the job."""
    check_plugin(lake_uri(settings))
    check_broker(settings, settings.broker("lake"), transactional=False)
    settings = settings.model_copy(update={"checkpoint_interval_ms": settings.lake_checkpoint_interval_ms})
    env, t_env = stream_environment(settings, jars=lake_jars(settings.lake_jars))
    check_restore(t_env, "lake", settings)
    build_lake(env, t_env, settings)
    # Each statement of the table environment appends the jars again, and a TaskManager refuses a list with repetitions.
    get_j_env_configuration(env._j_stream_execution_environment).setString(  # noqa: SLF001 - PyFlink offers no other way
        "pipeline.classpaths", ";".join(lake_jars(settings.lake_jars))
    )
    env.execute_async(JOB_NAME)


if __name__ == "__main__":
    run(main, JOB_NAME)
