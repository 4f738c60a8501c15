"""Starts and ends a canary, and says what keeps it apart from the running detector."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kafka.errors import KafkaError

from flink_jobs.canary.comparison import Comparison, Limits, compare
from flink_jobs.canary.outcomes import offsets_at, read_outcomes
from flink_jobs.contracts.access import DETECTOR_OUTPUTS, canary_prefix
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.flink.admission import running
from flink_jobs.flink.savepoints.snapshot import local_path
from flink_jobs.kafka.retries import retried
from flink_jobs.kafka.topics import admin, create_topics

if TYPE_CHECKING:
    from flink_jobs.flink.answers import Job
    from flink_jobs.flink.rest import FlinkRest
    from flink_jobs.kafka.broker import Broker
    from flink_jobs.settings import Settings

_SLACK_MS: Final = 60_000
_RECORD: Final = "canary.json"


@dataclass(frozen=True, slots=True)
class CanaryRecord:
    """A started canary, as recorded beside its reports.

    Attributes:
        job_id: in Flink.
        savepoint: the savepoint that it was started from.
        since_ms: the running job had processed no record behind the savepoint before this time (ms since the epoch).
    """

    job_id: str
    savepoint: str
    since_ms: int

    def save(self, folder: Path) -> None:
        """Write the record."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RECORD).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CanaryRecord | None:
        """Return the record of the last canary; ``None`` if there is none."""
        try:
            return cls(**json.loads((folder / _RECORD).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings that keep a canary apart: its topics, groups and transactions, and its checkpoints."""
    return {
        "STREAMFLOW_CANARY_OF": settings.topic_prefix,
        "STREAMFLOW_TOPIC_PREFIX": canary_prefix(settings.topic_prefix),
        "STREAMFLOW_CHECKPOINT_DIR": _own_folder(settings.checkpoint_dir),
        "STREAMFLOW_SAVEPOINT_DIR": _own_folder(settings.savepoint_dir),
    }


def find_canary(rest: FlinkRest, prefix: str) -> Job | None:
    """Return the active canary of an installation, if any."""
    return running(rest, "canary", canary_prefix(prefix))


def make_topics(broker: Broker, prefix: str) -> None:
    """Create the topics of a canary.

    Raises:
        UserError: they exist: the outcomes of an earlier canary would be compared, too.
    """
    if _topics(broker, prefix):
        raise UserError(
            f"topics of an earlier canary exist ({canary_prefix(prefix)}.decisions and others)",
            "delete them with `streamflow canary end`",
        )
    create_topics(broker, canary_prefix(prefix), only=DETECTOR_OUTPUTS)


def remove(settings: Settings, job_id: str | None) -> list[str]:
    """Delete what a canary leaves behind: topics, consumer group, checkpoints; return the names of the topics."""
    broker, own = settings.broker(), canary_prefix(settings.topic_prefix)
    names = _topics(broker, settings.topic_prefix)
    with admin(broker) as client:
        if names:
            retried(lambda: client.delete_topics(names))
        with suppress(KafkaError):  # a canary without a checkpoint has no group
            client.delete_groups([f"{own}-detect"])
    if job_id is not None:
        with suppress(UserError):  # in object storage, or on the cluster's disks
            shutil.rmtree(local_path(_own_folder(settings.checkpoint_dir)) / job_id, ignore_errors=True)
    return names


def compare_with_running(
    settings: Settings, rest: FlinkRest, limits: Limits, since_ms: int | None, restarts: int | None = None
) -> Comparison:
    """Compare the canary with the running job, on every record that both have read by now.

    Args:
        settings: of the running installation.
        rest: the cluster of the canary.
        limits: the limits of the verdict.
        since_ms: outcomes of the running job before this time are not read; ``None`` reads all.
        restarts: of the canary; ``None`` asks Flink.

    Raises:
        UserError: there is no canary, or Kafka does not answer.
    """
    broker, prefix = settings.broker(), settings.topic_prefix
    transactions = topic_name(prefix, "transactions")
    if restarts is None and (job := find_canary(rest, prefix)) is not None:
        restarts = _restarts(rest, job.job_id)
    canary = read_outcomes(broker, canary_prefix(prefix), transactions)
    start = None if since_ms is None else offsets_at(broker, prefix, since_ms - _SLACK_MS)
    # Read after the canary's, so a record that the canary has decided is not missing only because it was read earlier.
    real = read_outcomes(broker, prefix, transactions, start)
    if since_ms is not None:
        real = {place: item for place, item in real.items() if item.processed_ms >= since_ms or place in canary}
    return compare(real, canary, limits, restarts)


def _topics(broker: Broker, prefix: str) -> list[str]:
    own = {topic_name(canary_prefix(prefix), suffix) for suffix in DETECTOR_OUTPUTS}
    with admin(broker) as client:
        return sorted(own & set(retried(client.list_topics)))


def _restarts(rest: FlinkRest, job_id: str) -> int:
    """Return how often a job has restarted: Flink's counter, or its list of failures if that is ahead."""
    answer: Any = rest.get(f"/jobs/{job_id}/metrics?get=numRestarts")
    counted = [int(float(item["value"])) for item in answer]
    return max([*counted, len(rest.failures(job_id))])


def _own_folder(uri: str) -> str:
    return f"{uri.rstrip('/')}-canary"
