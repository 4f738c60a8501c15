"""Check every night for model drift, and train a new model if the check recommends it.

`streamflow drift` compares the recent decisions with the data that the model was measured on, and stores the result in
`ops.model_drift`. Its verdict is `retrain` if a measure drifted or if the training data is older than `max_age_days`.
The DAG then trains a version on the recorded decisions, registers it and promotes it through the gate. The new version
becomes the **shadow**: it scores beside the champion and has no effect on decisions. To promote it to champion, trigger
the DAG with `promote_to: champion` and set `evaluation_data` to a labelled card file, on which the gate compares the
two models.

**If it fails**: the log has the message of the failed command. If the gate refuses the version, the version stays
registered and the champion stays in force. Promotion needs a running job: start the job and clear the task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from flink_jobs.warehouse.orchestration import dag_head


@dag(
    schedule="17 3 * * *",
    **dag_head(__doc__, tags=["model"], minutes=120),
    params={
        "train": Param("needed", enum=["needed", "always", "never"], description="needed: if the check recommends it"),
        "kind": Param("isolation_forest", enum=["isolation_forest", "gradient_boosting"]),
        "max_age_days": Param(90.0, type="number", exclusiveMinimum=0, description="largest age of the training data"),
        "promote_to": Param("shadow", enum=["shadow", "champion", "nothing"]),
        "evaluation_data": Param(
            None, type=["null", "string"], description="labelled card file; required for a champion"
        ),
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

    @task(retries=0)  # the gate refuses again on a retry
    def promote(version: str, params: dict[str, Any] | None = None) -> str:
        from flink_jobs.warehouse import retraining

        asked = params or {}
        return retraining.promote(version, asked["promote_to"], asked["evaluation_data"])

    judgement = judge()
    version = train(judgement)  # type: ignore[arg-type]  # Airflow passes the value of the task at run time
    is_needed(judgement) >> version >> is_wanted() >> promote(version)  # type: ignore[arg-type]


model_retraining()
