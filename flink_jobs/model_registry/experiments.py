"""Experiments: a challenger model scores a share of the customers, and the guard in the job can end the experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.rows import class_row

from flink_jobs.core.control.messages import GUARD
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import read_control_state
from flink_jobs.model_registry.handshake import experiment_change, send_change
from flink_jobs.model_registry.versions import ChangeReason, open_registry

if TYPE_CHECKING:
    from flink_jobs.core.control.experiment import Experiment
    from flink_jobs.core.documents import ExperimentDocument
    from flink_jobs.settings import Settings

_BY_VARIANT: Final = """
    SELECT d.variant, d.model_version, count(*) AS decisions, count(*) FILTER (WHERE d.is_alert) AS alerts,
           count(l.label) FILTER (WHERE d.is_alert) AS labelled_alerts,
           count(*) FILTER (WHERE d.is_alert AND l.label = 'fraud') AS frauds_found,
           count(*) FILTER (WHERE l.label = 'fraud') AS frauds
    FROM raw.decisions d LEFT JOIN raw.latest_labels l USING (customer_id, transaction_id)
    WHERE d.config_revision >= %(since)s AND (%(until)s::bigint IS NULL OR d.config_revision < %(until)s)
    GROUP BY d.variant, d.model_version ORDER BY d.variant, d.model_version
"""


@dataclass(frozen=True, slots=True)
class VariantCounts:
    """Decisions of one variant and model version during an experiment.

    Attributes:
        variant: ``champion`` or ``challenger``.
        model_version: the version that scored; ``None`` for decisions by rules alone.
        decisions: number of decisions, 1 or more.
        alerts: number of alerts among them.
        labelled_alerts: number of alerts with a label.
        frauds_found: number of alerts with the label fraud.
        frauds: number of decisions with the label fraud.
    """

    variant: str
    model_version: str | None
    decisions: int
    alerts: int
    labelled_alerts: int
    frauds_found: int
    frauds: int


@dataclass(frozen=True, slots=True)
class ExperimentStatus:
    """The latest experiment.

    Attributes:
        experiment: its settings at the start, as in the control message.
        is_on: whether it runs now.
        ended_by: who ended it, ``None`` while it runs.
        why_ended: the reason given, ``None`` while it runs.
        by_variant: counts of the archived decisions of the experiment.
    """

    experiment: ExperimentDocument
    is_on: bool
    ended_by: str | None
    why_ended: str | None
    by_variant: list[VariantCounts]

    @property
    def ended_by_guard(self) -> bool:
        """Whether the guard ended it because the challenger left its band."""
        return self.ended_by == GUARD


def start_experiment(settings: Settings, experiment: Experiment, why: ChangeReason, now_ms: int, wait_s: float) -> str:
    """Start an experiment on the running job; return the control id.

    Raises:
        UserError: another experiment runs, or the job could not load the challenger. No experiment is started then.
    """
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        registry.get(experiment.version)
        answer = send_change(settings, experiment_change(experiment), why, now_ms=now_ms, wait_s=wait_s)
        if not answer.took_effect:
            if answer.outcome == "applied":  # the experiment is on, without its model: end it
                send_change(
                    settings, {"experiment": None}, ChangeReason(why.actor, "the challenger could not be loaded"),
                    now_ms=now_ms, wait_s=wait_s, expected=experiment.id,
                )  # fmt: skip
            raise UserError(
                f"experiment {experiment.id} is not on ({answer.detail or answer.outcome})",
                "see `streamflow experiment status`",
            )
        details = dict(experiment_change(experiment))
        registry.note(experiment.version, "experiment_started", why, details=details, control_id=answer.control_id)
        return answer.control_id


def stop_experiment(settings: Settings, why: ChangeReason, now_ms: int, wait_s: float) -> tuple[str, str]:
    """End the running experiment; return its id and the control id.

    Raises:
        UserError: no experiment runs, or the job did not answer.
    """
    state = read_control_state(settings.broker(), settings.topic_prefix)
    experiment = state.config.experiment
    if experiment is None:
        raise UserError("no experiment is on", "start one with `streamflow experiment start`")
    with open_registry(settings.postgres_dsn, alone=True) as registry:
        answer = send_change(settings, {"experiment": None}, why, now_ms=now_ms, wait_s=wait_s, expected=experiment.id)
        if not answer.took_effect:
            raise UserError(
                f"experiment {experiment.id} is not ended ({answer.detail or answer.outcome})",
                "see `streamflow experiment status`",
            )
        registry.note(experiment.version, "experiment_stopped", why, control_id=answer.control_id)
    return experiment.id, answer.control_id


def experiment_status(settings: Settings) -> ExperimentStatus | None:
    """Return the status of the latest experiment, from the audit topic and the archive; ``None`` if there was none."""
    state = read_control_state(settings.broker(), settings.topic_prefix)
    applied = [entry for entry in state.history if entry["outcome"] == "applied" and "experiment" in entry["changes"]]
    starts = [(entry, begun) for entry in applied if (begun := entry["changes"]["experiment"]) is not None]
    if not starts:
        return None
    start, experiment = starts[-1]
    end = next((entry for entry in applied[applied.index(start) + 1 :]), None)
    span = {"since": start["revision"], "until": None if end is None else end["revision"]}
    with psycopg.connect(settings.postgres_dsn, row_factory=class_row(VariantCounts)) as connection:
        rows = connection.execute(_BY_VARIANT, span).fetchall()
    return ExperimentStatus(
        experiment,
        end is None,
        None if end is None else end["issued_by"],
        None if end is None else end["reason"],
        rows,
    )
