"""Ask every night whether the model still fits, and train a new one when it does not.

`streamflow drift` compares what was served with what the model was measured on (`ops.model_drift`). When it says
`retrain`, because something drifted or because the training data are older than `max_age_days`, a version is
trained on the recorded decisions, registered and promoted through the gate. It becomes the **shadow**: asked beside
the champion, never deciding. Who wants it to decide says `promote_to: champion` and names the labelled cards on which
the gate compares the two (`evaluation_data`).

**If it fails**: the log has the command's own words. A gate that refuses is an answer: the version stays registered,
the champion stays in force. Promotion needs the running job; without one, start it and clear the task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="17 3 * * *",
    **dag_head(__doc__, tags=["model"], minutes=120),
    params={
        "train": Param("needed", enum=["needed", "always", "never"], description="needed: when the check says so"),
        "kind": Param("isolation_forest", enum=["isolation_forest", "gradient_boosting"]),
        "max_age_days": Param(90.0, type="number", exclusiveMinimum=0, description="of the training data"),
        "promote_to": Param("shadow", enum=["shadow", "champion", "nothing"]),
        "evaluation_data": Param(None, type=["null", "string"], description="labelled card file, for a champion"),
    },
)
def model_retraining() -> None:
    """Wire the steps from the check to the promotion."""

    @task
    def judge(params: dict[str, Any] | None = None) -> dict[str, Any]:
        from flink_jobs.warehouse import retraining

        asked = params or {}
        return retraining.judge(asked["train"], asked["max_age_days"])

    @task.short_circuit
    def is_needed(judgement: dict[str, Any]) -> bool:
        return bool(judgement["train"])

    @task
    def train(judgement: dict[str, Any], params: dict[str, Any] | None = None) -> str:
        from flink_jobs.warehouse import retraining

        return retraining.train_version((params or {})["kind"], judgement["why"])

    @task.short_circuit
    def is_wanted(params: dict[str, Any] | None = None) -> bool:
        return bool((params or {})["promote_to"] != "nothing")

    @task(retries=0)  # a gate that refuses has answered
    def promote(version: str, params: dict[str, Any] | None = None) -> str:
        from flink_jobs.warehouse import retraining

        asked = params or {}
        return retraining.promote(version, asked["promote_to"], asked["evaluation_data"])

    judgement = judge()
    version = train(judgement)  # type: ignore[arg-type]  # a value when it runs, the promise of one here
    is_needed(judgement) >> version >> is_wanted() >> promote(version)  # type: ignore[arg-type]


model_retraining()
