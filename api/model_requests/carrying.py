"""Runs the gate of requests and carries out approved ones, for `streamflow model carry-out`.

This process needs more than the API has: the control topic and its audit, Flink's REST API, the artifact store, and the
registry. It logs in to Postgres as ``streamflow_models``, which may write the checks and the outcome of a request, but
neither a request nor a decision about one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from api.model_requests.store import DUE
from api.reads import COMMAND_LINE, Read, append
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.model_registry.promotion import PromotionRequest, check_model, promote_model, roll_back
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason, open_registry
from ml.gate import Check, GateBounds, refusals

if TYPE_CHECKING:
    from flink_jobs.settings import Settings

_LOG: Final = logging.getLogger(__name__)
ACTOR: Final = "service:models"
"""Adds the checks and outcomes to the audit."""
WAIT_S: Final = 60.0
Row = dict[str, Any]
_TAKE: Final = f"""
    UPDATE api.model_requests r SET taken_at = now()
    FROM (SELECT request_id FROM api.model_requests WHERE {DUE}
          ORDER BY is_urgent DESC, request_id LIMIT 1 FOR UPDATE SKIP LOCKED) AS due
    WHERE r.request_id = due.request_id RETURNING r.*
"""  # noqa: S608 - a constant
_CHECKED: Final = """
    UPDATE api.model_requests
    SET gate = %(gate)s, gate_passed = %(passed)s, gate_error = %(error)s, gate_at = now(), taken_at = NULL
    WHERE request_id = %(id)s AND status = 'requested'
"""
_ENDED: Final = """
    UPDATE api.model_requests
    SET outcome = %(outcome)s, outcome_at = now(), control_id = %(control)s, error = %(error)s,
        gate = coalesce(%(gate)s, gate)
    WHERE request_id = %(id)s AND outcome IS NULL
"""


def as_models(settings: Settings) -> Settings:
    """Return settings whose owner is the role of the model registry, if it has a login."""
    user, password = settings.postgres_login("models")
    return settings.model_copy(update={"postgres_user": user, "postgres_password": password})


def carry_out_next(settings: Settings, say: Callable[[str], None]) -> bool:
    """Run the gate of the next request, or carry out an approved one; return whether there was one.

    Raises:
        UserError: Postgres does not answer, or the login lacks the rights.
    """
    own = as_models(settings)
    try:
        with psycopg.connect(own.postgres_dsn, autocommit=True, row_factory=dict_row) as connection:
            row = connection.execute(_TAKE.encode()).fetchone()
            if row is None:
                return False
            what = f"request {row['request_id']}: {row['kind']} of {row['version']} to {row['to_stage']}"
            if row["status"] == "requested":
                say(f"Gate of {what} ...")
                passed = _check(own, connection, row)
                say("passed" if passed else "refused")
            else:
                say(f"Carrying out {what} ...")
                say(_carry_out(own, connection, row, say))
            return True
    except psycopg.errors.InsufficientPrivilege as error:
        what = f"the login {own.postgres_user} may not carry out requests ({str(error).splitlines()[0]})"
        raise UserError(what, "log in as streamflow_models, or as the owner") from None
    except psycopg.OperationalError as error:
        what = f"Postgres does not answer ({str(error).strip().splitlines()[0]})"
        raise UserError(what, "see `streamflow status`", ErrorCode.POSTGRES_UNREACHABLE) from None


def _check(settings: Settings, connection: psycopg.Connection[Row], row: Row) -> bool:
    """Run the gate of a request and store its checks; return whether it passed."""
    checks: list[Check] = []
    problem: str | None = None
    try:
        checks = check_model(settings, _asked(row), _now_ms())
    except Exception as error:  # noqa: BLE001 - the page shows it
        problem = _problem(error)
    passed = problem is None and not refusals(checks)
    values = {"id": row["request_id"], "gate": _json(checks), "passed": passed, "error": problem}
    with connection.transaction():
        connection.execute(_CHECKED, values)
        _audit(connection, row, "models.gate_passed" if passed else "models.gate_refused")
    return passed


def _carry_out(settings: Settings, connection: psycopg.Connection[Row], row: Row, say: Callable[[str], None]) -> str:
    """Change the model and store the outcome; return it."""
    outcome, control, problem, checks = "failed", None, None, None
    try:
        if _has_stage(settings, row):
            outcome = "done"  # a process before this one died between the job's answer and the outcome
        elif row["kind"] == "rollback":
            _, _, control = roll_back(settings, _why(row), _now_ms(), WAIT_S, expected=row["version"])
            outcome = "done"
        else:
            result = promote_model(settings, _asked(row), _now_ms(), say)
            outcome = "done" if result.promoted else "refused by the gate"
            control, checks = result.control_id, _json(result.checks)
    except Exception as error:  # noqa: BLE001 - the page shows it
        problem = _problem(error)
    values = {"id": row["request_id"], "outcome": outcome, "control": control, "error": problem, "gate": checks}
    with connection.transaction():
        connection.execute(_ENDED, values)
        action = {"done": "models.done", "failed": "models.failed"}.get(outcome, "models.gate_refused")
        _audit(connection, row, action, control or "")
    return outcome if problem is None else f"{outcome}: {problem}"


def _asked(row: Row) -> PromotionRequest:
    to = ModelStage(row["to_stage"])
    return PromotionRequest(row["version"], to, _why(row), GateBounds(), None, WAIT_S, force=False, days=row["days"])


def _why(row: Row) -> ChangeReason:
    """Return requester, approver and reason for the registry and the control message."""
    by = row["requested_by"]
    if row["is_urgent"]:
        by = f"{by}, alone (urgent)"
    elif row["decided_by"] is not None:
        by = f"{by}, approved by {row['decided_by']}"
    return ChangeReason(by, row["reason"])


def _has_stage(settings: Settings, row: Row) -> bool:
    with open_registry(settings.postgres_dsn) as registry:
        return registry.get(row["version"]).stage == str(row["to_stage"])


def _problem(error: Exception) -> str:
    if isinstance(error, UserError):
        return f"{error.what}: {error.fix}"
    _LOG.error("a request about a model failed", exc_info=error)
    return f"a defect of StreamFlow ({type(error).__name__})"


def _audit(connection: psycopg.Connection[Row], row: Row, action: str, control: str = "") -> None:
    detail = f"{row['request_id']} {row['kind']} {row['version']} to {row['to_stage']} {control}".rstrip()
    append(connection, Read(ACTOR, action, None, COMMAND_LINE, detail))


def _json(checks: list[Check]) -> Jsonb:
    return Jsonb([asdict(check) for check in checks])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
