"""Build the marts with dbt, one task for each model and its tests, once data quality trusts the last closed day.

Only what was loaded since the last build is merged, so a run after a crash repairs what the crash left; running it
twice changes nothing. To merge days again, trigger it with `backfill_from` and `backfill_to`.

Results of every node are in `ops.dbt_results`.

**If it fails**: the log of the failed task has dbt's words. Tests of `stg_*` guard what depends on them. Mend the
cause and clear the task.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos.operators.local import DbtTestLocalOperator

from flink_jobs.warehouse.orchestration import DAY_TRUSTED, DEFAULTS, GOLD, dag_head, note_dbt_run
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
    """Wire dbt's models as tasks."""

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
            "callback": note_dbt_run,
            # Unit tests try the SQL, not the day; tests that need a model built later wait for `test_all`.
            "dbt_cmd_flags": ["--exclude-resource-type", "unit_test", "--indirect-selection", "buildable"],
            "append_env": True,  # profiles.yml reads the account from the environment; a DAG never holds it
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
        callback=note_dbt_run,
        append_env=True,
    )
    dbt >> test_all >> publish()


gold_build()
