"""A first sync can finish and its pods can work: order of the waves, mounted paths, roles, copies in Kafka."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.platform.argo_waves import stuck, wave
from tests.lab.platform.k8s_manifests import K8S, OVERLAYS, REPO, Manifest, of_kind
from tests.lab.platform.pods import pods

Overlays = Mapping[str, list[Manifest]]
VALUES: dict[str, Any] = yaml.safe_load((K8S / "airflow" / "values.yaml").read_text())
NEVER_USED = {
    "CronJob/streamflow-smoke": {"models"},
    "Job/streamflow-migrate": {"kafka", "models"},
    "Deployment/streamflow-marts-exporter": {"kafka", "models"},
}
"""Folders of settings.env that a workload does not read: two use only the database, traffic no model."""


def _find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == name)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_object_waits_for_a_later_wave(overlays: Overlays, overlay: str) -> None:
    assert stuck(overlays[overlay]) == []
    migration, detector = (
        wave(_find(overlays[overlay], kind, name))
        for kind, name in (("Job", "streamflow-migrate"), ("FlinkDeployment", "streamflow-detect"))
    )
    assert migration < detector, "the tables are migrated before the jobs are upgraded"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ServiceAccount", "streamflow-tools"), ("ExternalSecret", "postgres-owner"), ("Namespace", "streamflow"),
     ("Kafka", "streamflow"), ("NetworkPolicy", "database-clients"), ("Password", "airflow-keys")],
)  # fmt: skip
def test_an_object_in_a_later_wave_is_found(overlays: Overlays, kind: str, name: str) -> None:
    manifests = copy.deepcopy(overlays["prod"])
    _find(manifests, kind, name)["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = "1"
    assert any(line.endswith(f"/{name} of wave 1") for line in stuck(manifests))


def test_a_secret_that_nothing_creates_is_found(overlays: Overlays) -> None:
    manifests = copy.deepcopy(overlays["prod"])
    manifests.remove(_find(manifests, "ExternalSecret", "postgres-owner"))
    users = ("CronJob/streamflow-admin", "Job/streamflow-migrate")
    assert sorted(stuck(manifests)) == [f"{name} needs Secret/postgres-owner, which nothing creates" for name in users]


def _folders(data: Mapping[str, str]) -> dict[str, Path]:
    """Return the folders that the settings name, by the last part of their path."""
    paths = [Path(value) for value in data.values() if value.startswith(("/run/", "/var/"))]
    return {(path.parent if path.suffix else path).name: path for path in paths}


def _workloads(manifests: list[Manifest]) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield name, mounted files and folders, and names of the settings' maps of our pods and of Airflow's scheduler."""
    for name, pod in pods(manifests).items():
        for container in pod["spec"]["containers"]:
            mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
            yield (
                name,
                _mounted(mounts, pod["spec"]["volumes"]),
                {item["configMapRef"]["name"] for item in container["envFrom"]},
            )
    scheduler = VALUES["scheduler"]
    mounts = {item["name"]: item["mountPath"] for item in VALUES["volumeMounts"] + scheduler["extraVolumeMounts"]}
    yield "Airflow/scheduler", _mounted(mounts, VALUES["volumes"] + scheduler["extraVolumes"]), {"streamflow-airflow"}


def _mounted(mounts: dict[str, str], volumes: list[dict[str, Any]]) -> set[str]:
    found = set(mounts.values())
    for volume in volumes:
        for source in volume.get("projected", {}).get("sources", ()):
            found |= {f"{mounts[volume['name']]}/{item['path']}" for item in source["secret"].get("items", ())}
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_path_in_the_settings_is_mounted(overlays: Overlays, overlay: str) -> None:
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(overlays[overlay], "ConfigMap")}
    checked = set()
    for name, mounted, sources in _workloads(overlays[overlay]):
        for source in sources:
            for part, path in _folders(maps[source]).items():
                if part not in NEVER_USED.get(name, ()):
                    assert any(
                        item == str(path) or item.startswith(f"{path}/") or str(path).startswith(item)
                        for item in mounted
                    ), f"{name} has no {path}"
                    checked.add(name)
    assert "Airflow/scheduler" in checked


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_migration_and_the_operators_commands_log_in_as_the_owner(overlays: Overlays, overlay: str) -> None:
    owners = [
        name
        for name, pod in pods(overlays[overlay]).items()
        for volume in pod["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if source["secret"]["name"] == "postgres-owner"
    ]
    assert sorted(owners) == ["CronJob/streamflow-admin", "Job/streamflow-migrate"]
    assert _find(overlays[overlay], "CronJob", "streamflow-admin")["spec"]["suspend"] is True
    assert "postgres-owner" not in (K8S / "airflow" / "values.yaml").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_login_has_the_password_of_its_role(overlays: Overlays, overlay: str) -> None:
    """The key of the Secret names the role whose password it is."""
    checked = 0
    for name, pod in pods(overlays[overlay]).items():
        user = {item["name"]: item.get("value") for item in pod["spec"]["containers"][0].get("env", ())}.get(
            "STREAMFLOW_POSTGRES_USER"
        )
        for volume in pod["spec"]["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                for item in source["secret"].get("items", ()):
                    if item["path"] == "streamflow_postgres_password" and item["key"] != "password":
                        assert user == f"streamflow_{item['key']}", name
                        checked += 1
    assert checked >= 3


def test_airflows_tasks_have_files_network_and_cloud_role(overlays: Overlays) -> None:
    scheduler, manifests = VALUES["scheduler"], overlays["prod"]
    labels = VALUES["labels"] | scheduler["labels"]
    assert labels["streamflow.io/kafka-client"] == labels["streamflow.io/database-client"] == "true"
    https = _find(manifests, "NetworkPolicy", "https")["spec"]["podSelector"]["matchExpressions"][0]
    assert labels[https["key"]] in https["values"], "object storage is reached through this policy"
    account = _find(manifests, "ServiceAccount", scheduler["serviceAccount"]["name"])
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith("-airflow")
    cloud = (REPO / "terraform" / "modules" / "cluster" / "main.tf").read_text()
    assert re.search(r"^\s+airflow\s+= data\.aws_iam_policy_document\.airflow\.json", cloud, re.MULTILINE)
    made = {item["metadata"]["name"] for kind in ("ExternalSecret", "KafkaUser") for item in of_kind(manifests, kind)}
    volumes = VALUES["volumes"] + scheduler["extraVolumes"]
    mounted = {source["secret"]["name"] for item in volumes for source in item.get("projected", {}).get("sources", ())}
    assert mounted <= made | {"streamflow-cluster-ca-cert"}
    assert VALUES["migrateDatabaseJob"]["useHelmHooks"] is False, "Argo CD would run it after the pods that wait for it"


def test_every_role_of_the_overlays_exists_in_terraform(overlays: Overlays) -> None:
    cloud = (REPO / "terraform" / "modules" / "cluster" / "main.tf").read_text()
    accounts = re.search(r"accounts = \{\n(.*?)\n  \}", cloud, re.DOTALL)
    assert accounts
    made = set(re.findall(r"^\s+(\w+)\s+= data", accounts[1], re.MULTILINE))
    wanted = {
        item["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].rpartition("-")[2]
        for item in of_kind(overlays["prod"], "ServiceAccount")
        if "eks.amazonaws.com/role-arn" in item["metadata"].get("annotations", {})
    }
    assert wanted | {"autoscaler"} == made, "docs/deploy.md requires a cluster autoscaler, which changes node groups"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kafka_has_a_broker_for_each_copy(overlays: Overlays, overlay: str) -> None:
    pools = {item["metadata"]["name"]: item["spec"]["replicas"] for item in of_kind(overlays[overlay], "KafkaNodePool")}
    assert pools == ({"controller": 1, "broker": 1} if overlay == "dev" else {"controller": 3, "broker": 3})
    config = _find(overlays[overlay], "Kafka", "streamflow")["spec"]["kafka"]["config"]
    copies = {key: value for key, value in config.items() if key.endswith("replication.factor")}
    assert len(copies) == 3
    assert set(copies.values()) == {item["spec"]["replicas"] for item in of_kind(overlays[overlay], "KafkaTopic")}
    assert set(copies.values()) == {pools["broker"]}
    assert all(config[key] <= pools["broker"] for key in ("min.insync.replicas", "transaction.state.log.min.isr"))


_PATH = re.compile(r"\b(?:k8s|terraform|docs|tests|flink_jobs|sql|dags|\.github)/[\w./-]*\w")


def test_every_file_that_an_operations_file_names_exists() -> None:
    folders = ("k8s", "terraform", ".github")
    endings = {".yaml", ".yml", ".env", ".sh", ".tf", ".hcl", ".Dockerfile"}
    files = [path for folder in folders for path in sorted((REPO / folder).rglob("*")) if path.suffix in endings]
    assert len(files) > 60
    missing = {
        f"{path.relative_to(REPO)} names {found}"
        for path in files
        if ".terraform" not in path.parts
        for found in _PATH.findall(path.read_text())
        if not (REPO / found).exists() and not list(REPO.glob(f"{found}*"))
    }
    assert missing == set()
