"""Promotes, rolls back and archives models: first the gate, then the running job, and only then the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from flink_jobs.artifacts.artifact_store import open_store
from flink_jobs.artifacts.finder import find_model
from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
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
    end_other_roles,
    send_change,
    shadow_change,
)
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason, RegisteredModel, Registry, open_registry
from ml.gate import NO_CHAMPION, Check, GateBounds, check_speed, compare, refusals

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.documents import ControlChanges
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """A promotion as the user asks for it.

    Attributes:
        version: the model version.
        to: the target stage, ``CHAMPION`` or ``SHADOW``.
        why: actor and reason.
        bounds: limits of the gate.
        data: labelled card file on which candidate and champion are compared.
        mapping: mapping of its columns to fields.
        wait_s: maximum time to wait for the job, seconds.
        force: whether to promote although the gate refuses.
    """

    version: str
    to: ModelStage
    why: ChangeReason
    bounds: GateBounds
    data: Path | None
    mapping: Path | None
    wait_s: float
    force: bool


@dataclass(frozen=True, slots=True)
class PromotionResult:
    """The outcome of a promotion.

    Attributes:
        promoted: whether the version has its new stage.
        forced: whether the gate refused and ``force`` overruled it.
        checks: the checks of the gate.
        control_id: id of the control message, ``None`` when the gate refused.
    """

    promoted: bool
    forced: bool
    checks: list[Check]
    control_id: str | None

    @property
    def refusals(self) -> list[str]:
        """The reasons why the gate refused; empty when it passed."""
        return refusals(self.checks)


def register_model(settings: Settings, directory: Path, why: ChangeReason) -> tuple[RegisteredModel, bool]:
    """Check an artifact, publish it and register it as a candidate.

    Returns:
        The registered model, and False when it was registered before.

    Raises:
        UserError: the artifact cannot be loaded or published, or another model is registered under its version.
    """
    try:
        load_model(directory, FEATURE_NAMES)
        document = read_bounded(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(document)
        with open_store(settings.artifact_store or str(settings.model_dir)) as store:
            uri = store.publish(directory)
    except ModelError as error:
        raise UserError(
            f"{directory} is not registered ({error.detail})", "fix the problem or train the model again"
        ) from error
    with open_registry(settings.postgres_dsn) as registry:
        is_new = registry.add(manifest, orjson.loads(document), uri, why)
        return registry.get(manifest.version), is_new


def promote_model(settings: Settings, asked: PromotionRequest, now_ms: int, say: Say) -> PromotionResult:
    """Promote a version.

    Raises:
        UserError: the version is not registered, has the stage already, no job runs, or the job did not load it. In
            the last case the history records the failure and the previous champion is in force again.
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
            return PromotionResult(promoted=False, forced=False, checks=checks, control_id=None)
        forced = bool(refused)
        event = "gate_overruled" if forced else "gate_passed"
        registry.note(item.version, event, asked.why, to_stage=asked.to, details=details)
        if asked.to is ModelStage.CHAMPION:
            changes: ControlChanges = {**champion_change(item), **end_other_roles(item.version, config)}
        else:
            changes = shadow_change(item)
        say("Waiting for the running job ...")
        sender = _ChangeSender(settings, registry, config, asked.why, now_ms, asked.wait_s)
        control_id = sender.send(item, asked.to, changes)
        registry.move(item.version, asked.to, asked.why, control_id)
        return PromotionResult(promoted=True, forced=forced, checks=checks, control_id=control_id)


def roll_back(settings: Settings, why: ChangeReason, now_ms: int, wait_s: float) -> tuple[str, str, str]:
    """Make the previous champion champion again.

    Returns:
        The version that was champion, the version that is champion now, and the control id.

    Raises:
        UserError: there is no previous champion, no job runs, or the job did not load it.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        present, previous = registry.at(ModelStage.CHAMPION), registry.previous_champion()
        if present is None or previous is None:
            raise UserError("there is no champion before this one", "promote a version with `streamflow model promote`")
        config = _in_force(settings)
        changes: ControlChanges = {**champion_change(previous), **end_other_roles(previous.version, config)}
        sender = _ChangeSender(settings, registry, config, why, now_ms, wait_s)
        control_id = sender.send(previous, ModelStage.CHAMPION, changes)
        registry.move(previous.version, ModelStage.CHAMPION, why, control_id)
        return present.version, previous.version, control_id


def archive_model(settings: Settings, version: str, why: ChangeReason, now_ms: int, wait_s: float) -> None:
    """Archive a version; a shadow is first removed from the job.

    Raises:
        UserError: the version is the champion, or the job did not confirm that the shadow is removed.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        item = registry.get(version)
        if item.stage == ModelStage.CHAMPION:
            raise UserError(f"{version} is the champion", "promote another version or roll back")
        control_id = None
        if item.stage == ModelStage.SHADOW:
            sender = _ChangeSender(settings, registry, _in_force(settings), why, now_ms, wait_s)
            control_id = sender.send(item, ModelStage.ARCHIVED, shadow_change(None))
        registry.move(version, ModelStage.ARCHIVED, why, control_id)


def gate(
    settings: Settings, registry: Registry, asked: PromotionRequest, config: DetectionConfig, now_ms: int
) -> list[Check]:
    """Run the checks that the target stage needs; stop after a check whose failure makes the later ones impossible."""
    from ml.gate_measures import median_score_us  # noqa: PLC0415 - scikit-learn takes seconds to import

    candidate, check = _load(settings, registry.get(asked.version))
    checks = [check]
    if candidate is None:
        return checks
    plain = Transaction("gate", "gate", 1_000, "USD", now_ms)
    checks.append(check_speed(median_score_us(candidate, FeatureVector(*NEUTRAL_VALUES), plain), asked.bounds))
    if asked.to is not ModelStage.CHAMPION:
        return checks
    present = registry.at(ModelStage.CHAMPION)
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
    asked: PromotionRequest, pair: list[tuple[Model, RegisteredModel]], config: DetectionConfig, now_ms: int
) -> list[Check]:
    from ml.gate_measures import Contender, measure_together  # noqa: PLC0415 - as above

    assert asked.data is not None  # noqa: S101 - the caller has checked it
    contenders = [Contender(model, item.manifest["training_data"]["last_event_time_ms"]) for model, item in pair]
    events = read_events(asked.data, mapping_for(asked.data, asked.mapping))
    candidate, champion = measure_together(events, contenders, config, now_ms)
    return compare(candidate, champion, asked.bounds)


def _load(settings: Settings, item: RegisteredModel) -> tuple[Model | None, Check]:
    """Load a version from its store, as the job does, and compare its digest with the digest in the registry."""
    name, store = "artifact", item.artifact_uri.rpartition("/")[0]
    try:
        model = find_model(str(settings.model_dir), store, item.version, item.digest)
    except ModelError as error:
        return None, Check(name, passed=False, detail=error.detail)
    return model, Check(name, passed=True, detail=f"loads, digest {item.digest[:12]}, known features")


@dataclass(frozen=True, slots=True)
class _ChangeSender:
    """Sends a change to the job, and restores the configuration ``config`` when the job cannot load the model."""

    settings: Settings
    registry: Registry
    config: DetectionConfig
    why: ChangeReason
    now_ms: int
    wait_s: float

    def send(self, item: RegisteredModel, to: ModelStage, changes: ControlChanges) -> str:
        """Send a change and return the control id once the job has confirmed it.

        Raises:
            UserError: no job runs, or the job did not load the model. The message says whether the previous models
                are in force again.
        """
        answer = self._send(changes, self.why)
        if answer.took_effect:
            return answer.control_id
        self.registry.note(
            item.version, "job_refused", self.why, to_stage=to, details=asdict(answer), control_id=answer.control_id
        )
        restored = ""
        undo = self._undo(to)
        if answer.outcome == "applied" and undo:
            took = self._send(undo, ChangeReason(self.why.actor, f"the job could not use {item.version}")).took_effect
            restored = (
                "; the previous model is in force again" if took else "; the previous model could not be restored"
            )
        raise UserError(
            f"the running job did not confirm {item.version} as {to} ({answer.detail or answer.outcome}){restored}",
            "see `streamflow model history` and `streamflow dlq list --stage model`",
        )

    def _undo(self, to: ModelStage) -> ControlChanges:
        """Return the change that restores the previous model; empty if no control message had named it."""
        before = self.config
        if to is ModelStage.SHADOW:
            shadow = before.shadow_model
            return {"shadow_model": None if shadow is None else {"version": shadow.version, "digest": shadow.digest}}
        if to is not ModelStage.CHAMPION or before.model_version is None:
            return {}
        undo: ControlChanges = {"model_version": before.model_version}
        if before.model_digest is not None:
            undo["model_digest"] = before.model_digest
        return undo

    def _send(self, changes: ControlChanges, why: ChangeReason) -> JobAnswer:
        return send_change(self.settings, changes, why, now_ms=self.now_ms, wait_s=self.wait_s)


def _in_force(settings: Settings) -> DetectionConfig:
    return read_control_state(settings.broker(), settings.topic_prefix).config
