"""Promotes, rolls back and archives models: first the gate, then the running job, and only then the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

from flink_jobs.artifacts.artifact_store import open_store
from flink_jobs.artifacts.finder import known_features
from flink_jobs.core.models.artifact import MAX_MANIFEST_BYTES, read_bounded
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.manifest import MANIFEST_FILE, parse_manifest
from flink_jobs.core.models.model import load_model
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import read_control_state
from flink_jobs.model_registry.cards import requirement_checks
from flink_jobs.model_registry.handshake import ChangeSender, champion_change, end_other_roles, shadow_change
from flink_jobs.model_registry.promotion_gate import run_gate
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason, RegisteredModel, Registry, open_registry
from ml.gate import Check, GateBounds, refusals

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.documents import ControlChanges
    from flink_jobs.core.features.entity_risk import Entity
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.settings import Settings
    from ml.dataset import Dataset

Say = Callable[[str], None]


class CardRows(Protocol):
    """Reads the whole history of a card file, or takes it from a cache."""

    def __call__(self, config: DetectionConfig, own: OwnValues | None, entities: tuple[Entity, ...], /) -> Dataset:
        """Return the rows.

        Args:
            config: rules and lists that score the rows.
            own: the own features to compute, if any.
            entities: whose history to replay; may be empty.

        Raises:
            UserError: the file cannot be read.
        """


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """A promotion as the user asks for it.

    Attributes:
        version: the model version.
        to: the target stage, ``CHAMPION`` or ``SHADOW``.
        why: actor and reason.
        bounds: limits of the gate.
        cards: reads the labelled card file on which candidate and champion are compared; ``None`` without one.
        wait_s: maximum time to wait for the job, seconds.
        force: whether to promote although the gate refuses; requirements of the settings stay.
        days: without ``cards``, compare on the recorded decisions of so many days; ``None``: do not.
    """

    version: str
    to: ModelStage
    why: ChangeReason
    bounds: GateBounds
    cards: CardRows | None
    wait_s: float
    force: bool
    days: int | None = None


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
        load_model(directory, known_features(settings.entities), own=settings.own_values())
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


def check_model(settings: Settings, asked: PromotionRequest, now_ms: int) -> list[Check]:
    """Return the checks of the gate for a promotion, without a change of the job or the registry.

    Raises:
        UserError: the version is not registered, or Kafka or Postgres does not answer.
    """
    with open_registry(settings.postgres_dsn) as registry:
        return [
            *_requirements(settings, registry, asked),
            *run_gate(settings, registry, asked, _in_force(settings), now_ms),
        ]


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
        requirements = _requirements(settings, registry, asked)
        checks = [*requirements, *run_gate(settings, registry, asked, config, now_ms)]
        refused = refusals(checks)
        details = {"checks": [asdict(check) for check in checks], "refusals": refused}
        if refusals(requirements) or (refused and not asked.force):
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
        sender = ChangeSender(settings, registry, config, asked.why, now_ms, asked.wait_s)
        control_id = sender.send(item, asked.to, changes)
        registry.move(item.version, asked.to, asked.why, control_id)
        return PromotionResult(promoted=True, forced=forced, checks=checks, control_id=control_id)


def roll_back(
    settings: Settings, why: ChangeReason, now_ms: int, wait_s: float, *, expected: str | None = None
) -> tuple[str, str, str]:
    """Make the previous champion champion again.

    Args:
        settings: the addresses of Postgres, broker and Flink.
        why: actor and reason.
        now_ms: the wall clock, UTC milliseconds.
        wait_s: maximum time to wait for the job, seconds.
        expected: the version that must be the previous champion; ``None``: any.

    Returns:
        The version that was champion, the version that is champion now, and the control id.

    Raises:
        UserError: there is no previous champion, or another one than expected, no job runs, or the job did not load it.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        present, previous = registry.at(ModelStage.CHAMPION), registry.previous_champion()
        if present is None or previous is None:
            raise UserError("there is no champion before this one", "promote a version with `streamflow model promote`")
        if expected not in {None, previous.version}:
            raise UserError(
                f"the previous champion is {previous.version}, not {expected}: another change came first",
                "see `streamflow model list`",
            )
        config = _in_force(settings)
        changes: ControlChanges = {**champion_change(previous), **end_other_roles(previous.version, config)}
        sender = ChangeSender(settings, registry, config, why, now_ms, wait_s)
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
            sender = ChangeSender(settings, registry, _in_force(settings), why, now_ms, wait_s)
            control_id = sender.send(item, ModelStage.ARCHIVED, shadow_change(None))
        registry.move(version, ModelStage.ARCHIVED, why, control_id)


def _requirements(settings: Settings, registry: Registry, asked: PromotionRequest) -> list[Check]:
    """Return the checks of what a future champion needs beside the gate; ``force`` does not overrule them."""
    if asked.to is not ModelStage.CHAMPION:
        return []
    return requirement_checks(registry, asked.version, settings.promotion_requirements)


def _in_force(settings: Settings) -> DetectionConfig:
    return read_control_state(settings.broker(), settings.topic_prefix).config
