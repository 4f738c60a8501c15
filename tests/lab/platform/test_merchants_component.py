"""The optional component of merchants, added to the overlay of production: checked like the overlays themselves."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from flink_jobs.contracts.uids import MAX_PARALLELISM
from flink_jobs.flink.jobs import OPTIONAL_JOBS
from flink_jobs.settings import ENV_PREFIX, Settings
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import K8S, REPO, Manifest, add_component, build, kubeconform, of_kind
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import pods

if TYPE_CHECKING:
    from pathlib import Path

NAME = "streamflow-merchants"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Return production with the component, which no overlay has by default."""
    folder = tmp_path_factory.mktemp("merchants") / "k8s"
    shutil.copytree(K8S, folder)
    add_component(folder / "overlays" / "prod", "merchants")
    return build(folder / "overlays" / "prod")


def _flink(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item["spec"] for item in of_kind(manifests, "FlinkDeployment")}


def _variables(manifests: list[Manifest], name: str) -> dict[str, str]:
    container = pods(manifests)[f"FlinkDeployment/{name}/taskmanager"]["spec"]["containers"][0]
    return {item["name"]: item["value"] for item in container["env"]}


def test_the_manifests_fit_their_definitions_and_our_policies(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == []
    assert complaints(manifests) == []
    assert stuck(manifests) == []
    assert "s3://STATE_BUCKET" not in yaml.safe_dump_all(manifests)


def test_the_job_has_its_own_folders_and_credentials_and_the_detector_reads_its_rows(manifests: list[Manifest]) -> None:
    specs, variables = _flink(manifests), _variables(manifests, NAME)
    flink = specs[NAME]["flinkConfiguration"]
    assert flink["execution.checkpointing.dir"] == variables["STREAMFLOW_CHECKPOINT_DIR"]
    assert flink["execution.checkpointing.savepoint-dir"] == variables["STREAMFLOW_SAVEPOINT_DIR"]
    assert flink["pipeline.max-parallelism"] == str(MAX_PARALLELISM)
    folders = {
        name: {v for v in spec["flinkConfiguration"].values() if "s3://" in str(v)} for name, spec in specs.items()
    }
    assert len(folders) == 3
    assert not any(folders[NAME] & others for name, others in folders.items() if name != NAME)
    assert specs[NAME]["job"]["args"][-1] == f"/opt/streamflow/{OPTIONAL_JOBS['merchants']}"
    sources = [
        source["secret"]["name"]
        for volume in pods(manifests)[f"FlinkDeployment/{NAME}/taskmanager"]["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    ]
    assert sources == ["streamflow-cluster-ca-cert", NAME, "postgres-ca"]
    entities = {_variables(manifests, name)["STREAMFLOW_RISK_ENTITIES"] for name in ("streamflow-detect", NAME)}
    (api,) = pods(manifests)["Deployment/streamflow-api"]["spec"]["containers"]
    entities |= {item["value"] for item in api["env"] if item["name"] == "STREAMFLOW_RISK_ENTITIES"}
    assert entities == {"merchant"}, "both jobs and the API have the same setting"
    assert "STREAMFLOW_RISK_ENTITIES" in {item["name"] for item in api["env"]}
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(variables) <= known
    assert "${var.bucket_arn}/merchants/*" in (REPO / "terraform" / "modules" / "cluster" / "main.tf").read_text()
