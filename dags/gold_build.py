"""Build the marts with dbt, one task for each model with its tests, after the closed days passed data quality.

A build merges only rows loaded since the last build. A run after a crash therefore completes the crashed run, and a
second run changes nothing. To merge days again, trigger the DAG with `backfill_from` and `backfill_to`.

Results of every node are in `ops.dbt_results`.

**If it fails**: the log of the failed task has dbt's message. If a test of `stg_*` fails, dbt does not build the models
that depend on it. Fix the cause and clear the task.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos.operators.local import DbtTestLocalOperator

from flink_jobs.warehouse.orchestration import DAY_TRUSTED, DEFAULTS, GOLD, dag_head, record_dbt_run
from flink_jobs.warehouse.paths import DBT_PROJECT

PROFILE = ProfileConfig(
    profile_name="streamflow", target_name="warehouse", profiles_yml_filepath=DBT_PROJECT / "profiles.yml"
)


@dag(
    schedule=[DAY_TRUSTED],
    **dag_head(__doc__, tags=["warehouse", "gold", "dbt"], minutes=60),
    params={
        "backfill_from": Param(None, type=["null", "string"], format="date", description="UTC day of the events"),
        "backfill_to": Param(None, type=["null", "string"], format="date", description="inclusive"),
    },
)
def gold_build() -> None:
    """Wire one task for each dbt model."""

    @task(outlets=[GOLD])
    def publish() -> str:
        from flink_jobs.warehouse.orchestration import gold_closed_day, transformer_dsn

        return str(gold_closed_day(transformer_dsn()))

    dbt = DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(
            dbt_project_path=DBT_PROJECT,
            manifest_path=DBT_PROJECT / "target" / "manifest.json",
            install_dbt_deps=False,
        ),
        profile_config=PROFILE,
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST, test_behavior=TestBehavior.BUILD, emit_datasets=False
        ),
        operator_args={
            "callback": record_dbt_run,
            # Unit tests check the SQL, not the data. Tests that need a model built later run in `test_all`.
            "dbt_cmd_flags": ["--exclude-resource-type", "unit_test", "--indirect-selection", "buildable"],
            "append_env": True,  # profiles.yml reads the login from the environment; a DAG never holds it
            "vars": {
                "backfill_from": "{{ params.backfill_from or '' }}",
                "backfill_to": "{{ params.backfill_to or '' }}",
            },
        },
        default_args=DEFAULTS,
    )
    test_all = DbtTestLocalOperator(
        task_id="test_all",
        project_dir=DBT_PROJECT,
        profile_config=PROFILE,
        invocation_mode=InvocationMode.DBT_RUNNER,
        install_deps=False,
        dbt_cmd_flags=["--exclude-resource-type", "unit_test"],
        callback=record_dbt_run,
        append_env=True,
    )
    dbt >> test_all >> publish()


gold_build()
