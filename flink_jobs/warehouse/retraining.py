"""From a drift check to a new model that the running job asks: the steps of the DAG ``model_retraining``.

Each step is a ``streamflow`` command, takes and returns what JSON can hold, and may be repeated: the same rows give the
same version, and a version that is where it should be stays there.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from flink_jobs.errors import UserError
from flink_jobs.warehouse.commands import run_streamflow

TrainingPolicy = Literal["needed", "always", "never"]
PromotionTarget = Literal["shadow", "champion"]
RETRAIN, UNKNOWN, REFUSED = 3, 4, 1
"""Exit codes of `streamflow drift` and `streamflow model promote`."""
ACTOR: Final = "airflow"


def judge(train: TrainingPolicy, max_age_days: float) -> dict[str, Any]:
    """Say whether to train, and why; a drift check keeps its measures in ``ops.model_drift``.

    Args:
        train: ``always`` trains without asking, ``never`` only asks.
        max_age_days: age of the training data at which to train even where nothing drifted.

    Returns:
        ``train`` (bool), ``why`` and, of a check, its ``verdict``.

    Raises:
        UserError: nothing was decided by a model yet, or the database does not answer.
    """
    if train == "always":
        return {"train": True, "why": "asked for"}
    check = run_streamflow("drift", "--once", "--max-age-days", str(max_age_days), answers=(0, RETRAIN, UNKNOWN))
    why = "; ".join(check.document["reasons"]) or f"the verdict is {check.document['verdict']}"
    wanted = check.code == RETRAIN and train == "needed"
    return {"train": wanted, "why": why, "verdict": check.document["verdict"]}


def train_version(kind: str, why: str) -> str:
    """Train on the recorded decisions and register the version as a candidate; return its name.

    No job loads it when it starts: that is decided by promotion.

    Raises:
        UserError: there is too little to train on, or the artifact cannot be served.
    """
    trained = run_streamflow("train", "--from-decisions", "--kind", kind, "--no-current").document
    reason = f"trained on schedule: {why}"
    registered = run_streamflow("model", "register", trained["directory"], "--reason", reason, "--by", ACTOR).document
    return str(registered["version"])


def promote(version: str, to: PromotionTarget, data: str | None = None) -> str:
    """Bring a version through the gate to the running job; return its stage.

    Args:
        version: a registered one.
        to: ``shadow`` is asked beside the champion; ``champion`` decides.
        data: labelled card file on which the gate compares it with the champion; a champion needs one.

    Raises:
        UserError: the gate refuses it, with its reasons, or the job did not take it.
    """
    if run_streamflow("model", "show", version).document["stage"] == to:
        return to
    arguments = ["model", "promote", version, "--to", to, "--reason", "retrained on schedule", "--by", ACTOR]
    answer = run_streamflow(*arguments, *(["--data", data] if data else []), answers=(0, REFUSED))
    if answer.code == REFUSED:
        failed = [f"{check['name']}: {check['detail']}" for check in answer.document["checks"] if not check["passed"]]
        raise UserError(
            f"the gate refuses {version} as {to} ({'; '.join(failed)})",
            "see `streamflow model history`; it stays registered, and what decides now goes on deciding",
        )
    return to
