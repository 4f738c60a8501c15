"""Where a job begins: at its newest snapshot, at a named one, or without state because the user asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.merchants.coverage import COVERED_DAYS
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.entities import entities_without_history
from flink_jobs.flink.savepoints.latest import Found, newest
from flink_jobs.kafka.lag import consumer_lag

if TYPE_CHECKING:
    from flink_jobs.flink.savepoints.latest import Place
    from flink_jobs.kafka.broker import Broker

_SHORT: Final = f"models with such inputs give no score until the history covers {COVERED_DAYS} days."
_LEARN: Final = "`streamflow submit merchants --fresh` learns the decisions that the topic still holds."
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Start:
    """Where a job begins.

    Attributes:
        job: ``detect``, ``archive``, ``lake`` or ``merchants``.
        savepoint: URI of the snapshot that the job restores, offsets included; ``None`` for no state.
        lines: what to report to the user before the job starts.
        found: the snapshot that was chosen, or the one that ``fresh`` leaves behind.
        left_behind: customers whose states ``fresh`` leaves behind; ``None``: none, or their number is unknown.
    """

    job: str
    savepoint: str | None
    lines: tuple[str, ...]
    found: Found | None = None
    left_behind: int | None = None

    @property
    def uses_settings_model(self) -> bool:
        """Return whether the job starts with the model of the settings; a snapshot may name another one."""
        return self.savepoint is None or (self.found is not None and not self.found.names_model)

    def as_dict(self) -> dict[str, object]:
        """Return the choice for JSON output."""
        return {
            "resumes_from": self.savepoint,
            "snapshot_age_s": round(self.found.age_s(), 1) if self.savepoint and self.found else None,
            "left_behind": self.found.uri if self.found and not self.savepoint else None,
            "customers_left_behind": self.left_behind,
        }


def choose_start(job: str, place: Place, *, fresh: bool = False, savepoint: str | None = None) -> Start:
    """Return where a job begins.

    Args:
        job: ``detect``, ``archive``, ``lake`` or ``merchants``.
        place: where its snapshots are.
        fresh: start without state.
        savepoint: path of the snapshot to restore; the job's main checks it.

    Raises:
        UserError: the newest snapshot cannot be restored, or snapshots cannot be searched; only without ``fresh`` and
            ``savepoint``.
    """
    if savepoint is not None:
        return Start(
            job, savepoint, (f"{job} resumes from {savepoint}, as named.", *_new_entities(job, place, savepoint))
        )
    if fresh:
        return _fresh(job, place)
    found = newest(job, place)
    if found is None:
        return Start(job, None, (f"{job} starts without state: it has no completed checkpoint or savepoint yet.",))
    lines = [f"{job} resumes from its newest {found.kind}, {age(found.age_s())} old: {found.uri}"]
    if found.skipped:
        lines.append(
            f"Skipped, because they did not complete: {', '.join(item.name for item in found.skipped)} "
            "(`streamflow savepoint clean` lists them)."
        )
    return Start(job, found.uri, (*lines, *_new_entities(job, place, found.uri)), found)


def refuse_lost_histories(start: Start, place: Place, broker: Broker) -> None:
    """Refuse a detector without state if an earlier one has committed offsets, which it does with each checkpoint.

    Its snapshots were moved or deleted, or the settings name other folders. A broker that does not answer is no reason
    to refuse: the job itself reports it.

    Args:
        start: a start that ``choose_start`` chose without ``fresh``.
        place: where the snapshots were searched.
        broker: holds the committed offsets.

    Raises:
        UserError: customers' histories would be empty although transactions were processed.
    """
    if start.job != "detect" or start.savepoint is not None:
        return
    group, topic = f"{place.topic_prefix}-detect", topic_name(place.topic_prefix, "transactions")
    read = sum(item.position for item in consumer_lag(broker) if (item.group, item.topic) == (group, topic))
    if read:
        raise UserError(
            f"detect has read {topic} up to {read:,} offsets before, but there is no snapshot of it in "
            f"{place.checkpoints} and {place.savepoints}: it would start without any customer's history",
            "check STREAMFLOW_CHECKPOINT_DIR and STREAMFLOW_SAVEPOINT_DIR; or name a snapshot with `streamflow submit "
            "detect --from-savepoint PATH`, or start without state with `streamflow submit detect --fresh`",
        )


def _new_entities(job: str, place: Place, uri: str) -> list[str]:
    """Return lines about entities whose history the job of merchants does not find in a snapshot."""
    if job != "merchants":
        return []
    missing = entities_without_history(uri, place.entities)
    if missing is None:
        return [f"Which entities have a history in it cannot be read from here. Of one that is new, {_SHORT} {_LEARN}"]
    if not missing:
        return []
    return [f"Warning: it holds no history of {', '.join(missing)}: {_SHORT} {_LEARN}"]


def _fresh(job: str, place: Place) -> Start:
    """Return a start without state, with what it leaves behind."""
    try:
        found = newest(job, place)
    except UserError as error:
        return Start(job, None, (f"{job} starts without state (--fresh). It may leave state behind: {error.what}.",))
    if found is None:
        return Start(job, None, (f"{job} starts without state (--fresh); no earlier state was found.",))
    where = f"Its newest {found.kind} stays at {found.uri} ({age(found.age_s())} old)."
    if job == "merchants":
        return Start(job, None, (f"{job} learns what its topics still hold, without state (--fresh). {where}",), found)
    if job != "detect":
        return Start(job, None, (f"{job} starts at the committed offsets, without state (--fresh). {where}",), found)
    count, reason = found.customers()
    told = f"{count:,} customers" if count is not None else f"an unknown number of customers ({reason})"
    line = f"{job} starts without state (--fresh). The states of {told} are left behind. {where}"
    return Start(job, None, (line,), found, count)


def age(seconds: float) -> str:
    """Return an age in words.

    >>> age(5), age(150), age(7_200), age(200_000)
    ('5 s', '2 min', '2.0 h', '2.3 days')
    """
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h" if seconds < _DAY_S else f"{seconds / _DAY_S:.1f} days"
