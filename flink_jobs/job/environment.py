"""The Flink environment of both jobs, and the checks before a job starts."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Final

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.contracts import uids
from flink_jobs.errors import UserError
from flink_jobs.flink.admission import TOPIC_PREFIX
from flink_jobs.flink.savepoints.check import check_savepoint
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import connection_error
from flink_jobs.settings import Settings, load_settings

_BROKER_LIMIT: Final = "transaction.max.timeout.ms"
_RESTORE_PATH: Final = "execution.state-recovery.path"


def stream_environment(
    settings: Settings, *, jars: Sequence[str] = ()
) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """Return the stream environment and the table environment over it.

    Only the job's own options are set here; the cluster's configuration has the paths of jars and Python. ``jars`` are
    URLs of jars that only this job loads, from the same folder on every TaskManager.
    """
    configuration = Configuration()
    for key, value in {
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_ms} ms",
        "execution.checkpointing.min-pause": f"{settings.checkpoint_interval_ms // 2} ms",
        "execution.checkpointing.timeout": f"{settings.checkpoint_timeout_ms} ms",
        "execution.checkpointing.tolerable-failed-checkpoints": "3",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": settings.checkpoint_dir,
        "execution.checkpointing.savepoint-dir": settings.savepoint_dir,
        "state.backend.type": "rocksdb",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
        "pipeline.max-parallelism": str(uids.MAX_PARALLELISM),
        "pipeline.object-reuse": "true",
        "execution.buffer-timeout.interval": f"{settings.buffer_timeout_ms} ms",
        # `submit` reads it from the REST API to refuse a second job of the same consumer group.
        "pipeline.global-job-parameters": f"{TOPIC_PREFIX}:{settings.topic_prefix}",
        "python.execution-mode": settings.execution_mode,
        "table.local-time-zone": "UTC",
        # Without a uid an operator loses its state at the next upgrade, so the job must not start.
        "pipeline.auto-generate-uids": "false",
        # pin_uids sets the uids; the planner's uids would change with every added query.
        "table.exec.uid.generation": "DISABLED",
    }.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    if jars:
        env.add_classpaths(*jars)  # before the table environment is made: it takes over the class loader
    return env, StreamTableEnvironment.create(env)


def check_broker(settings: Settings, broker: Broker, *, transactional: bool) -> None:
    """Check that a broker is reachable and allows our transaction timeout, before the job starts.

    A job without a reachable broker would not fail but wait without a message.

    Raises:
        UserError: no broker answers, or its limit is below our transaction timeout.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        admin = KafkaAdminClient(**broker.client(), bootstrap_timeout_ms=10_000)
        try:
            number = str(admin.describe_cluster()["brokers"][0]["broker_id"])
            resource = ConfigResource(ConfigResourceType.BROKER, number, {_BROKER_LIMIT: None})
            found = admin.describe_configs([resource], config_filter="all")
        finally:
            admin.close()
    except KafkaError as error:
        raise connection_error(broker, error) from None
    limit_ms = int(found["broker"][number][_BROKER_LIMIT]["value"])
    if transactional and settings.transaction_timeout_ms > limit_ms:
        raise UserError(
            f"STREAMFLOW_TRANSACTION_TIMEOUT_MS is {settings.transaction_timeout_ms}, but the broker allows {limit_ms}",
            f"lower it, or raise the broker's {_BROKER_LIMIT}",
        )


def check_restore(t_env: StreamTableEnvironment, job: str, settings: Settings) -> None:
    """Check that the job can restore the savepoint from which it is started, if any.

    Raises:
        UserError: it cannot. Without this check, the job would fail repeatedly or start without any customer's state.
    """
    path = t_env.get_config().get(_RESTORE_PATH, "")
    if path:
        check_savepoint(path, job, settings.execution_mode, entities=settings.entities)


def run(main: Callable[[Settings], None], job: str) -> None:
    """Print the settings (secrets masked) and run a job's main; a ``UserError`` ends it with one line and code 2."""
    try:
        settings = load_settings()
        for name, value in settings.masked().items():
            sys.stdout.write(f"{job}: {name}={value}\n")
        main(settings)
    except UserError as error:
        sys.stderr.write(f"{job}: {error}\n")
        sys.exit(2)
