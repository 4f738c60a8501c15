"""What both jobs share: the Flink environment, and the checks before it is used."""

import logging
import sys
from collections.abc import Callable
from typing import Final

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.contracts import uids
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.check import check_savepoint
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import connection_error
from flink_jobs.settings import Settings, load_settings

_BROKER_LIMIT: Final = "transaction.max.timeout.ms"
_RESTORE_PATH: Final = "execution.state-recovery.path"


def stream_environment(settings: Settings) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """Return the stream environment and the table environment over it.

    Only what belongs to the job is set here; the cluster's own configuration says where jars and Python are.
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
        "python.execution-mode": settings.execution_mode,
        "table.local-time-zone": "UTC",
        # Without a uid an operator's state is lost at the next upgrade: rather refuse to start.
        "pipeline.auto-generate-uids": "false",
        # Ours are set by pin_uids and by the table names; the planner's would move with every added query.
        "table.exec.uid.generation": "DISABLED",
    }.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    return env, StreamTableEnvironment.create(env)


def check_broker(settings: Settings, broker: Broker) -> None:
    """See that a broker answers and lets our transactions last as long as they may, before the job starts.

    A job would not die of a broker that is not there, but wait for it unseen.

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
    if settings.sink_guarantee == "exactly_once" and settings.transaction_timeout_ms > limit_ms:
        raise UserError(
            f"STREAMFLOW_TRANSACTION_TIMEOUT_MS is {settings.transaction_timeout_ms}, the broker allows {limit_ms}",
            f"lower it, or raise the broker's {_BROKER_LIMIT}",
        )


def check_restore(t_env: StreamTableEnvironment, job: str, settings: Settings) -> None:
    """See that the job can go on from the savepoint it is started from, if any, before it starts.

    Raises:
        UserError: it cannot; a job that did start would keep failing, or know no customer.
    """
    path = t_env.get_config().get(_RESTORE_PATH, "")
    if path:
        check_savepoint(path, job, settings.execution_mode)


def run(main: Callable[[Settings], None], job: str) -> None:
    """Print the settings (secrets masked) and run a job's main; a user's mistake ends it with one line."""
    try:
        settings = load_settings()
        for name, value in settings.masked().items():
            sys.stdout.write(f"{job}: {name}={value}\n")
        main(settings)
    except UserError as error:
        sys.stderr.write(f"{job}: {error}\n")
        sys.exit(2)
