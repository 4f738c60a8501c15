"""The steps of the DAG ``model_retraining``: drift check, training, promotion to the running job.

Each step runs ``streamflow`` commands, and its arguments and results can be written as JSON. Steps may be repeated: the
same rows give the same version, and a version that already has the wanted stage keeps it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from flink_jobs.errors import UserError
from flink_jobs.warehouse.commands import run_streamflow

TrainingPolicy = Literal["needed", "always", "never"]
PromotionTarget = Literal["shadow", "champion"]
RETRAIN, UNKNOWN, REFUSED = 3, 4, 1
"""Exit codes of ``streamflow drift`` and ``streamflow model promote``."""
ACTOR: Final = "airflow"


def judge(train: TrainingPolicy, max_age_days: float) -> dict[str, Any]:
    """Decide whether to train, and why. A drift check stores its measures in ``ops.model_drift``.

    Args:
        train: ``always`` trains without a check, ``never`` only checks, ``needed`` trains if the check recommends it.
        max_age_days: age of the training data from which to train even without drift.

    Returns:
        ``train`` (bool), ``why`` and, after a check, its ``verdict``.

    Raises:
        UserError: no model has made a decision yet, or the database does not answer.
    """
    if train == "always":
        return {"train": True, "why": "requested by the operator"}
    check = run_streamflow("drift", "--once", "--max-age-days", str(max_age_days), answers=(0, RETRAIN, UNKNOWN))
    why = "; ".join(check.document["reasons"]) or f"the verdict is {check.document['verdict']}"
    wanted = check.code == RETRAIN and train == "needed"
    return {"train": wanted, "why": why, "verdict": check.document["verdict"]}


def train_version(kind: str, why: str) -> str:
    """Train on the recorded decisions and register the version as a candidate; return its name.

    Jobs do not load the version until it is promoted.

    Raises:
        UserError: there are too few rows, or the artifact cannot be served.
    """
    trained = run_streamflow("train", "--from-decisions", "--kind", kind, "--no-current").document
    reason = f"trained on schedule: {why}"
    registered = run_streamflow("model", "register", trained["directory"], "--reason", reason, "--by", ACTOR).document
    return str(registered["version"])


def promote(version: str, to: PromotionTarget, data: str | None = None) -> str:
    """Promote a version through the gate to the running job; return its stage.

    Args:
        version: a registered version.
        to: ``shadow`` scores beside the champion without effect on decisions; ``champion`` decides.
        data: labelled card file on which the gate compares the version with the champion; required for a champion.

    Raises:
        UserError: the gate refuses the version (the message has the reasons), or the job did not load it.
    """
    if run_streamflow("model", "show", version).document["stage"] == to:
        return to
    arguments = ["model", "promote", version, "--to", to, "--reason", "retrained on schedule", "--by", ACTOR]
    answer = run_streamflow(*arguments, *(["--data", data] if data else []), answers=(0, REFUSED))
    if answer.code == REFUSED:
        failed = [f"{check['name']}: {check['detail']}" for check in answer.document["checks"] if not check["passed"]]
        raise UserError(
            f"the gate refuses {version} as {to} ({'; '.join(failed)})",
            "see `streamflow model history`; the version stays registered, and the champion stays in force",
        )
    return to
