"""The optional component of the lake, added to the overlay of production: checked like the overlays themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flink_jobs.contracts.uids import MAX_PARALLELISM
from flink_jobs.flink.jobs import OPTIONAL_JOBS
from flink_jobs.settings import ENV_PREFIX, Settings
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import K8S, REPO, Manifest, kubeconform, of_kind, with_components
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import pods

POD = "FlinkDeployment/streamflow-lake/taskmanager"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Return production with the component, which no overlay has by default."""
    return with_components(tmp_path_factory.mktemp("lake"), "prod", "lake")


def _spec(manifests: list[Manifest]) -> dict[str, Any]:
    return next(
        item["spec"] for item in of_kind(manifests, "FlinkDeployment") if item["metadata"]["name"] == "streamflow-lake"
    )


def _variables(manifests: list[Manifest], pod: str) -> dict[str, str]:
    container = pods(manifests)[pod]["spec"]["containers"][0]
    return {item["name"]: item["value"] for item in container["env"]}


def test_the_manifests_fit_their_definitions_and_our_policies(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == []
    assert complaints(manifests) == []
    assert stuck(manifests) == []


def test_the_values_of_the_platform_are_filled_in(manifests: list[Manifest]) -> None:
    assert "s3://STATE_BUCKET" not in yaml.safe_dump_all(manifests)
    paths = {_variables(manifests, pod)["STREAMFLOW_LAKE_PATH"] for pod in (POD, "CronJob/streamflow-lake-compact")}
    assert len(paths) == 1, "the job writes the lake that the compaction reads"
    (path,) = paths
    assert re.fullmatch(r"s3://streamflow-prod-state-\d+/lake", path)
    assert not {f"{path}/{table}" for table in ("decisions", "rejected_decisions")} & _folders(manifests)


def _folders(manifests: list[Manifest]) -> set[str]:
    return {value for value in _spec(manifests)["flinkConfiguration"].values() if str(value).startswith("s3://")}


def test_flink_and_the_job_use_the_same_folders_that_no_other_job_uses(manifests: list[Manifest]) -> None:
    flink, variables = _spec(manifests)["flinkConfiguration"], _variables(manifests, POD)
    assert flink["execution.checkpointing.dir"] == variables["STREAMFLOW_CHECKPOINT_DIR"]
    assert flink["execution.checkpointing.savepoint-dir"] == variables["STREAMFLOW_SAVEPOINT_DIR"]
    assert flink["pipeline.max-parallelism"] == str(MAX_PARALLELISM)
    others = [item for item in of_kind(manifests, "FlinkDeployment") if item["metadata"]["name"] != "streamflow-lake"]
    assert len(others) == 2
    assert not _folders(manifests) & {value for item in others for value in item["spec"]["flinkConfiguration"].values()}


def test_the_job_has_its_own_credentials_and_no_password_of_the_database(manifests: list[Manifest]) -> None:
    sources = [
        source["secret"]["name"]
        for volume in pods(manifests)[POD]["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    ]
    assert sources == ["streamflow-cluster-ca-cert", "streamflow-lake", "postgres-ca"]
    assert "streamflow.io/database-client" not in pods(manifests)[POD]["metadata"]["labels"]
    for pod in (POD, "CronJob/streamflow-lake-compact"):
        known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
        assert set(_variables(manifests, pod)) <= known


def test_the_image_has_the_script_the_jars_and_the_plugin(manifests: list[Manifest]) -> None:
    script = _spec(manifests)["job"]["args"][-1]
    assert script == f"/opt/streamflow/{OPTIONAL_JOBS['lake']}"
    dockerfile = (K8S / "images" / "job.Dockerfile").read_text()
    folder = Settings.model_fields["lake_jars"].get_default(call_default_factory=True)
    assert f"/opt/streamflow/{folder.relative_to(REPO)}\n" in dockerfile, "the default of STREAMFLOW_LAKE_JARS"
    assert "/opt/flink/plugins/s3-fs-hadoop/" in dockerfile


def test_the_cloud_roles_may_write_the_lake() -> None:
    cloud = (REPO / "terraform" / "modules" / "cluster" / "main.tf").read_text()
    for document in ("state", "models"):
        policy = re.search(rf'"aws_iam_policy_document" "{document}" \{{\n(.*?)\n\}}', cloud, re.DOTALL)
        assert policy
        assert "${var.bucket_arn}/lake/*" in policy[1]
    storage = (REPO / "terraform" / "modules" / "storage" / "main.tf").read_text()
    assert "days_after_initiation = 30" in storage, "a stopped lake job completes its uploads when it resumes"
