"""Sends a change of models to the running job and waits for its audit record: only the job confirms a change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRest
from flink_jobs.kafka.control_client import build_message, encode_checked, send_and_wait
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.control.experiment import Experiment
    from flink_jobs.core.documents import ControlChanges
    from flink_jobs.model_registry.versions import RegisteredModel, Registry
    from flink_jobs.settings import Settings

DETECTOR: Final = "streamflow-detect"
"""Name of the job in Flink."""


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """The answer of the running job to a control message.

    Attributes:
        control_id: id of the message.
        outcome: ``applied``, ``rejected`` or ``duplicate``; ``None`` when no audit record came in time.
        detail: the problem; empty when the whole change took effect.
    """

    control_id: str
    outcome: str | None
    detail: str

    @property
    def took_effect(self) -> bool:
        """Whether the job applied the change and loaded the models."""
        return self.outcome == "applied" and not self.detail


def champion_change(model: RegisteredModel) -> ControlChanges:
    """Return the change that makes a version the champion."""
    return {"model_version": model.version, "model_digest": model.digest}


def shadow_change(model: RegisteredModel | None) -> ControlChanges:
    """Return the change that makes a version the shadow; ``None`` removes the shadow."""
    return {"shadow_model": None if model is None else {"version": model.version, "digest": model.digest}}


def end_other_roles(version: str, config: DetectionConfig) -> ControlChanges:
    """Return the changes that end the shadow and challenger roles of a version that becomes champion."""
    changes: ControlChanges = {}
    if config.shadow_model is not None and config.shadow_model.version == version:
        changes["shadow_model"] = None
    if config.experiment is not None and config.experiment.version == version:
        changes["experiment"] = None
    return changes


def experiment_change(experiment: Experiment) -> ControlChanges:
    """Return the change that starts an experiment."""
    guard = experiment.guard
    return {
        "experiment": {
            "id": experiment.id,
            "version": experiment.version,
            "digest": experiment.digest,
            "share": experiment.share,
            "guard": {
                "min_decisions": guard.min_decisions,
                "max_alert_rate_ratio": guard.max_alert_rate_ratio,
                "min_alert_rate_ratio": guard.min_alert_rate_ratio,
                "max_error_share": guard.max_error_share,
            },
        }
    }


def send_change(
    settings: Settings,
    changes: ControlChanges,
    why: ChangeReason,
    *,
    now_ms: int,
    wait_s: float,
    expected: str | None = None,
) -> JobAnswer:
    """Send a control message to the running detector and wait for its audit record.

    Args:
        settings: the addresses of broker and Flink.
        changes: the changes of the control message.
        why: actor and reason, for the audit.
        now_ms: the wall clock, UTC milliseconds.
        wait_s: maximum time to wait for the audit record, seconds.
        expected: id of an experiment; the job applies the change only while this experiment is on.

    Raises:
        UserError: no detector runs. A message sent now would take effect unnoticed at the next start of the detector.
    """
    jobs = FlinkRest(settings.flink_rest_url).active_jobs()
    if not any(job.name == DETECTOR and job.state == "RUNNING" for job in jobs):
        raise UserError("no detector is running that could take the model", "start it with `streamflow submit`")
    message = build_message(changes, issued_by=why.actor, reason=why.reason, expected_revision=None, now_ms=now_ms)
    if expected is not None:
        message["expected_experiment"] = expected
    control_id = message["control_id"]
    audit = send_and_wait(settings.broker(), settings.topic_prefix, encode_checked(message), control_id, wait_s)
    if audit is None:
        detail = f"no answer within {wait_s:g} s; the message may still take effect: see `streamflow control show`"
        return JobAnswer(control_id, None, detail)
    return JobAnswer(control_id, str(audit["outcome"]), str(audit["detail"] or ""))


@dataclass(frozen=True, slots=True)
class ChangeSender:
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
        answer = self._send_change(changes, self.why)
        if answer.took_effect:
            return answer.control_id
        self.registry.note(
            item.version, "job_refused", self.why, to_stage=to, details=asdict(answer), control_id=answer.control_id
        )
        restored = ""
        undo = self._undo(to)
        if answer.outcome == "applied" and undo:
            undo_why = ChangeReason(self.why.actor, f"the job could not use {item.version}")
            took = self._send_change(undo, undo_why).took_effect
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

    def _send_change(self, changes: ControlChanges, why: ChangeReason) -> JobAnswer:
        return send_change(self.settings, changes, why, now_ms=self.now_ms, wait_s=self.wait_s)
