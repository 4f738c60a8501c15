"""The component of a canary, added to the overlay of production: apart from the running detector in every respect."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import K8S, Manifest, add_component, build, kubeconform, of_kind
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import pods

POD = "FlinkDeployment/streamflow-canary/taskmanager"
IMAGE = "registry.example/job@sha256:" + "a" * 64
SAVEPOINT = "s3://streamflow-prod-state/detect/savepoints/savepoint-1"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Return production with a canary, as docs/deploy.md says."""
    folder = tmp_path_factory.mktemp("canary") / "k8s"
    shutil.copytree(K8S, folder)
    overlay = folder / "overlays" / "prod"
    add_component(overlay, "canary")
    path = overlay / "kustomization.yaml"
    document = yaml.safe_load(path.read_text())
    values = {"/spec/image": IMAGE, "/spec/job/initialSavepointPath": SAVEPOINT}
    patch = [{"op": "replace", "path": path, "value": value} for path, value in values.items()]
    target = {"kind": "FlinkDeployment", "name": "streamflow-canary"}
    document["patches"].append({"patch": yaml.safe_dump(patch), "target": target})
    path.write_text(yaml.safe_dump(document))
    return build(overlay)


def _job(manifests: list[Manifest], name: str) -> dict[str, Any]:
    return next(item["spec"] for item in of_kind(manifests, "FlinkDeployment") if item["metadata"]["name"] == name)


def test_the_manifests_fit_their_definitions_and_our_policies(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == []
    assert complaints(manifests) == []
    assert stuck(manifests) == []
    assert "STATE_BUCKET" not in yaml.safe_dump(_job(manifests, "streamflow-canary"))


def test_a_canary_runs_its_own_image_from_a_savepoint_and_leaves_the_sinks_behind(manifests: list[Manifest]) -> None:
    canary, running = _job(manifests, "streamflow-canary"), _job(manifests, "streamflow-detect")
    assert canary["image"] == IMAGE != running["image"]
    assert canary["job"]["initialSavepointPath"] == SAVEPOINT
    assert canary["job"]["allowNonRestoredState"] is True
    assert "allowNonRestoredState" not in running["job"]


def test_a_canary_shares_no_folder_account_or_topic_prefix_with_the_detector(manifests: list[Manifest]) -> None:
    canary, running = (_job(manifests, f"streamflow-{name}")["flinkConfiguration"] for name in ("canary", "detect"))
    folders = [{value for value in item.values() if str(value).startswith("s3://")} for item in (canary, running)]
    assert len(folders[0]) == 3
    assert not folders[0] & folders[1]
    container = pods(manifests)[POD]["spec"]["containers"][0]
    variables = {item["name"]: item["value"] for item in container["env"]}
    assert variables["STREAMFLOW_CHECKPOINT_DIR"] == canary["execution.checkpointing.dir"]
    assert variables["STREAMFLOW_SAVEPOINT_DIR"] == canary["execution.checkpointing.savepoint-dir"]
    assert (variables["STREAMFLOW_CANARY_OF"], variables["STREAMFLOW_TOPIC_PREFIX"]) == (
        "streamflow",
        "streamflow-canary",
    )
    secrets = [
        source["secret"]["name"]
        for volume in pods(manifests)[POD]["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    ]
    assert secrets == ["streamflow-cluster-ca-cert", "streamflow-canary", "postgres-ca"]


def test_a_canary_pages_nobody(manifests: list[Manifest]) -> None:
    groups = [group for item in of_kind(manifests, "PrometheusRule") for group in item["spec"]["groups"]]
    rules = [rule for group in groups for rule in group["rules"] if "flink_jobmanager_job_" in rule["expr"]]
    assert rules
    unfiltered = [rule for rule in rules if "job_name=" not in rule["expr"] and "streamflow.canary" not in rule["expr"]]
    assert unfiltered == []
