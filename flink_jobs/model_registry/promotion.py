"""Promotion, rollback and archiving: the gate, the running job, and only then the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.artifacts.artifact_store import open_store
from flink_jobs.artifacts.finder import find_model
from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.core.features.vector import FEATURE_NAMES, NEUTRAL_VALUES, FeatureVector
from flink_jobs.core.models.artifact import MAX_MANIFEST_BYTES, read_bounded
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.manifest import MANIFEST_FILE, parse_manifest
from flink_jobs.core.models.model import load_model
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import read_control_state
from flink_jobs.model_registry.handshake import (
    JobAnswer,
    champion_change,
    shadow_change,
    tell_job,
    without_trials_of,
)
from flink_jobs.model_registry.stages import Stage
from flink_jobs.model_registry.versions import Registered, Registry, Why, open_registry
from ml.gate import NO_CHAMPION, Check, GateBounds, check_speed, compare, refusals

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What somebody asks for."""

    version: str
    to: Stage
    why: Why
    bounds: GateBounds
    data: Path | None
    mapping: Path | None
    wait_s: float
    force: bool


@dataclass(frozen=True, slots=True)
class Promoted:
    """What came of it."""

    promoted: bool
    forced: bool
    checks: list[Check]
    control_id: str | None

    @property
    def refusals(self) -> list[str]:
        """Why the gate refused."""
        return refusals(self.checks)


def register_model(settings: Settings, directory: Path, why: Why) -> tuple[Registered, bool]:
    """Check an artifact, publish it and register it as a candidate; False when it was registered before.

    Raises:
        UserError: it cannot be served or published, or another model has its name.
    """
    try:
        load_model(directory, FEATURE_NAMES)
        document = read_bounded(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(document)
        with open_store(settings.artifact_store or str(settings.model_dir)) as store:
            uri = store.publish(directory)
    except ModelError as error:
        raise UserError(f"{directory} is not registered ({error.detail})", "mend or train it") from error
    with open_registry(settings.postgres_dsn) as registry:
        is_new = registry.add(manifest, orjson.loads(document), uri, why)
        return registry.get(manifest.version), is_new


def promote_model(settings: Settings, asked: Promotion, now_ms: int, say: Say) -> Promoted:
    """Promote a version.

    Raises:
        UserError: it is not registered or already there, no job runs, or the job did not take it; the registry then
            says so, and the champion of before is in force again.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        item = registry.get(asked.version)
        if item.stage == asked.to:
            raise UserError(f"{item.version} is {asked.to} already", "see `streamflow model list`")
        config = _in_force(settings)
        say(f"Checking {item.version} ...")
        checks = gate(settings, registry, asked, config, now_ms)
        refused = refusals(checks)
        details = {"checks": [asdict(check) for check in checks], "refusals": refused}
        if refused and not asked.force:
            registry.note(item.version, "gate_refused", asked.why, to_stage=asked.to, details=details)
            return Promoted(promoted=False, forced=False, checks=checks, control_id=None)
        forced = bool(refused)
        event = "gate_overruled" if forced else "gate_passed"
        registry.note(item.version, event, asked.why, to_stage=asked.to, details=details)
        if asked.to is Stage.CHAMPION:
            changes = {**champion_change(item), **without_trials_of(item.version, config)}
        else:
            changes = shadow_change(item)
        say("Waiting for the running job ...")
        courier = _Courier(settings, registry, config, asked.why, now_ms, asked.wait_s)
        control_id = courier.deliver(item, asked.to, changes)
        registry.move(item.version, asked.to, asked.why, control_id)
        return Promoted(promoted=True, forced=forced, checks=checks, control_id=control_id)


def roll_back(settings: Settings, why: Why, now_ms: int, wait_s: float) -> tuple[str, str, str]:
    """Make the champion before the present one champion again; return both names and the control id.

    Raises:
        UserError: there is none, no job runs, or the job did not take it.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        present, previous = registry.at(Stage.CHAMPION), registry.previous_champion()
        if present is None or previous is None:
            raise UserError("there is no champion before this one", "promote a version with `streamflow model promote`")
        config = _in_force(settings)
        changes = {**champion_change(previous), **without_trials_of(previous.version, config)}
        courier = _Courier(settings, registry, config, why, now_ms, wait_s)
        control_id = courier.deliver(previous, Stage.CHAMPION, changes)
        registry.move(previous.version, Stage.CHAMPION, why, control_id)
        return present.version, previous.version, control_id


def archive_model(settings: Settings, version: str, why: Why, now_ms: int, wait_s: float) -> None:
    """Give a version up.

    Raises:
        UserError: it is the champion, or the job did not let go of it.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        item = registry.get(version)
        if item.stage == Stage.CHAMPION:
            raise UserError(f"{version} is the champion", "promote another version or roll back")
        control_id = None
        if item.stage == Stage.SHADOW:
            courier = _Courier(settings, registry, _in_force(settings), why, now_ms, wait_s)
            control_id = courier.deliver(item, Stage.ARCHIVED, shadow_change(None))
        registry.move(version, Stage.ARCHIVED, why, control_id)


def gate(settings: Settings, registry: Registry, asked: Promotion, config: DetectionConfig, now_ms: int) -> list[Check]:
    """Ask every question of the gate that the target stage needs; a question that fails spares the later ones."""
    from ml.compare import median_score_us  # noqa: PLC0415 - scikit-learn takes seconds to import

    candidate, check = _load(settings, registry.get(asked.version))
    checks = [check]
    if candidate is None:
        return checks
    plain = Transaction("gate", "gate", 1_000, "USD", now_ms)
    checks.append(check_speed(median_score_us(candidate, FeatureVector(*NEUTRAL_VALUES), plain), asked.bounds))
    if asked.to is not Stage.CHAMPION:
        return checks
    present = registry.at(Stage.CHAMPION)
    if present is None:
        return [*checks, Check("comparison", passed=True, detail=NO_CHAMPION)]
    champion, check = _load(settings, present)
    if champion is None:
        detail = f"the champion cannot be loaded to compare with ({check.detail})"
        return [*checks, Check("comparison", passed=True, detail=detail)]
    if asked.data is None:
        detail = f"give --data: labelled cards to compare with {present.version}"
        return [*checks, Check("comparison", passed=False, detail=detail)]
    pair = [(candidate, registry.get(asked.version)), (champion, present)]
    return [*checks, *_compared(asked, pair, config, now_ms)]


def _compared(
    asked: Promotion, pair: list[tuple[Model, Registered]], config: DetectionConfig, now_ms: int
) -> list[Check]:
    from ml.compare import Contender, measure_together  # noqa: PLC0415 - as above

    assert asked.data is not None  # noqa: S101 - the caller looked
    contenders = [Contender(model, int(item.manifest["training_data"]["last_event_time_ms"])) for model, item in pair]
    events = read_events(asked.data, mapping_for(asked.data, asked.mapping))
    candidate, champion = measure_together(events, contenders, config, now_ms)
    return compare(candidate, champion, asked.bounds)


def _load(settings: Settings, item: Registered) -> tuple[Model | None, Check]:
    """Load a version from its store, as the job will, and hold it to the registry's digest."""
    name, store = "artifact", item.artifact_uri.rpartition("/")[0]
    try:
        model = find_model(str(settings.model_dir), store, item.version, item.digest)
    except ModelError as error:
        return None, Check(name, passed=False, detail=error.detail)
    return model, Check(name, passed=True, detail=f"loads, digest {item.digest[:12]}, known features")


@dataclass(frozen=True, slots=True)
class _Courier:
    """Brings a change to the job and, where the job cannot follow, what was before back."""

    settings: Settings
    registry: Registry
    config: DetectionConfig
    why: Why
    now_ms: int
    wait_s: float

    def deliver(self, item: Registered, to: Stage, changes: dict[str, Any]) -> str:
        """Return the control id once the job works with it.

        Raises:
            UserError: no job runs or it did not take the model; says whether the models of before are in force.
        """
        answer = self._tell(changes, self.why)
        if answer.took_effect:
            return answer.control_id
        self.registry.note(
            item.version, "job_refused", self.why, to_stage=to, details=asdict(answer), control_id=answer.control_id
        )
        restored = ""
        undo = self._undo(to)
        if answer.outcome == "applied" and undo:
            took = self._tell(undo, Why(self.why.actor, f"the job could not use {item.version}")).took_effect
            restored = "; what was before is in force again" if took else "; what was before could not be restored"
        raise UserError(
            f"the running job did not take {item.version} as {to} ({answer.detail or answer.outcome}){restored}",
            "see `streamflow model history` and `streamflow dlq list --stage model`",
        )

    def _undo(self, to: Stage) -> dict[str, Any]:
        """Return the change that puts back what was in force before, none where the job started with it unnamed."""
        before = self.config
        if to is Stage.SHADOW:
            shadow = before.shadow_model
            return {"shadow_model": None if shadow is None else asdict(shadow)}
        if to is not Stage.CHAMPION or before.model_version is None:
            return {}
        digest = {} if before.model_digest is None else {"model_digest": before.model_digest}
        return {"model_version": before.model_version, **digest}

    def _tell(self, changes: dict[str, Any], why: Why) -> JobAnswer:
        return tell_job(self.settings, changes, why, now_ms=self.now_ms, wait_s=self.wait_s)


def _in_force(settings: Settings) -> DetectionConfig:
    return read_control_state(settings.broker(), settings.topic_prefix).config
