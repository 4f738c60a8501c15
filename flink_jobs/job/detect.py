"""Main of the detect job: transactions in; decisions, alerts, dead letters and audit records out.

With ``STREAMFLOW_CANARY_OF`` it is a canary: it reads the topics of a running installation and writes to its own.

``streamflow submit detect`` runs it, or ``flink run -py flink_jobs/job/detect.py`` with ``STREAMFLOW_*`` set.
"""

import sys
from typing import Final

from flink_jobs.contracts.avro_schemas import reader_schema
from flink_jobs.contracts.topic_contracts import load_contracts, topic_name
from flink_jobs.core.models.model import ModelError, model_directory
from flink_jobs.core.state.older_ids import DuplicateWindow
from flink_jobs.job.detector.batched import is_batched
from flink_jobs.job.detector.operator_settings import DetectorSettings
from flink_jobs.job.detector.outputs import OUTPUTS
from flink_jobs.job.detector.schemas import SchemaSettings
from flink_jobs.job.detector.topology import Topics, Wiring, build_detector
from flink_jobs.job.environment import check_broker, check_restore, run, stream_environment
from flink_jobs.kafka.partition_keys import keys_of_partitions
from flink_jobs.kafka.schema_registry import RegistryError, SchemaReader, subject_of
from flink_jobs.settings import Settings

JOB_NAME: Final = "streamflow-detect"
CANARY_NAME: Final = "streamflow-canary"


def job_name(settings: Settings) -> str:
    """Return the name of the job in Flink."""
    return JOB_NAME if settings.canary_of is None else CANARY_NAME


def topics(settings: Settings) -> Topics:
    """Return the topic names of this installation."""
    name = {suffix: contract.name for suffix, contract in load_contracts(settings.topic_prefix).items()}
    source = settings.canary_of or settings.topic_prefix
    return Topics(
        transactions=topic_name(source, "transactions"),
        control=topic_name(source, "control"),
        actions=topic_name(source, "user-actions"),
        merchants=topic_name(source, "merchant-risk") if settings.entities else None,
        outputs={output.topic: name[output.topic] for output in OUTPUTS},
    )


def wiring(settings: Settings) -> Wiring:
    """Return how the graph reads from Kafka and writes to it."""
    return Wiring(
        topics=topics(settings),
        broker=settings.broker("canary" if settings.canary_of else "detect"),
        group_id=f"{settings.topic_prefix}-detect",
        start_from=settings.start_from,
        is_batched=is_batched(settings.crossing, settings.execution_mode),
        batch_delay_ms=settings.batch_delay_ms,
        guarantee=settings.sink_guarantee,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        idle_timeout_ms=settings.idle_timeout_ms,
        is_canary=settings.canary_of is not None,
    )


def detector_settings(settings: Settings) -> DetectorSettings:
    """Return the settings of the operator. The ``current`` model is resolved now, so a restart uses the same model."""
    version = settings.model_version
    if version is None:
        try:
            version = model_directory(settings.model_dir).name
        except ModelError:
            version = None  # the operator logs and counts it, and scores by rules alone
    names = topics(settings)
    replies = load_contracts(settings.topic_prefix)["replies"]
    return DetectorSettings(
        transactions_topic=names.transactions,
        control_topic=names.control,
        actions_topic=names.actions,
        merchants_topic=names.merchants or "",
        risk_entities=settings.entities,
        replies_topic=replies.name,
        reply_routes=keys_of_partitions(replies.partitions),
        model_dir=str(settings.model_dir.resolve()),
        model_version=version,
        execution_mode=settings.execution_mode,
        are_alerts_at_once=settings.alerts_guarantee == "at_least_once",
        state_ttl_days=settings.state_ttl_days,
        state_cache_customers=settings.state_cache_customers,
        duplicate_window=DuplicateWindow(settings.duplicate_days, settings.duplicate_transactions),
        model_budget_ms=settings.model_budget_ms,
        artifact_store=settings.artifact_store,
        # A canary's spans would be in the traces of the running job.
        traces=None if settings.canary_of else settings.trace_target(),
        schemas=schema_settings(settings),
        own_features=settings.own_feature_sources(),
    )


def schema_settings(settings: Settings) -> SchemaSettings | None:
    """Return where the schemas of Avro records come from, with those known now; ``None`` without a registry."""
    access = settings.registry()
    if access is None:
        return None
    contract = load_contracts(settings.canary_of or settings.topic_prefix)["transactions"]
    subject = subject_of(contract.name)
    known: tuple[tuple[int, str], ...] = ()
    try:
        known = tuple(SchemaReader(access, subject).read().items())
    except RegistryError as problem:
        name = job_name(settings)
        sys.stdout.write(f"{name}: {problem}; Avro records become dead letters until the registry answers\n")
    return SchemaSettings(access, subject, reader_schema(contract), known)


def main(settings: Settings) -> None:
    """Build and submit the job."""
    wires, name = wiring(settings), job_name(settings)
    check_broker(settings, wires.broker, transactional=True)
    env, t_env = stream_environment(settings)
    check_restore(t_env, "canary" if wires.is_canary else "detect", settings)
    crossing = "batched" if wires.is_batched else "single"
    sys.stdout.write(f"{name}: records cross between Java and Python in the {crossing} crossing\n")
    build_detector(env, t_env, wires, detector_settings(settings))
    env.execute_async(name)


if __name__ == "__main__":
    run(main, JOB_NAME)
