"""The optional component for clients of a schema registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flink_jobs.registry_settings import SchemaRegistrySettings
from flink_jobs.settings import ENV_PREFIX
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import Manifest, kubeconform, of_kind, with_components
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import matches, pods

CLIENTS = {
    "CronJob/streamflow-admin",
    "Deployment/streamflow-api",
    "Deployment/streamflow-case-worker",
    "FlinkDeployment/streamflow-detect/jobmanager",
    "FlinkDeployment/streamflow-detect/taskmanager",
}
"""The detector decodes; the commands of the operator and the jobs of the API redrive."""
FOLDER = "/run/secrets/registry"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_components(tmp_path_factory.mktemp("registry"), "prod", "registry")


def _mounted(pod: Manifest) -> dict[str, Any]:
    """Return the source of the volume at the folder of the registry's files."""
    (name,) = [item["name"] for item in pod["spec"]["containers"][0]["volumeMounts"] if item["mountPath"] == FOLDER]
    (volume,) = [item for item in pod["spec"]["volumes"] if item["name"] == name]
    (source,) = volume["projected"]["sources"]
    secret: dict[str, Any] = source["secret"]
    return secret


def test_the_manifests_are_valid_and_in_order(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == complaints(manifests) == stuck(manifests) == []


def test_every_client_has_the_files_that_the_settings_name(manifests: list[Manifest]) -> None:
    (data,) = [
        item["data"]
        for item in of_kind(manifests, "ConfigMap")
        if item["metadata"]["name"].startswith("streamflow-settings")
    ]
    given = {name: data[ENV_PREFIX + name.upper()] for name in SchemaRegistrySettings.model_fields}
    access = SchemaRegistrySettings(**given).registry()
    assert access is not None
    assert access.place.startswith("https://")
    having = {
        name for name, pod in pods(manifests).items()
        if any(item["mountPath"] == FOLDER for item in pod["spec"]["containers"][0]["volumeMounts"])
    }  # fmt: skip
    assert having == CLIENTS
    for name in CLIENTS:
        secret = _mounted(pods(manifests)[name])
        assert secret["name"] == "schema-registry"
        files = {f"{FOLDER}/{item['path']}" for item in secret["items"]}
        assert files == {access.login_file, access.ca_file}
    made = next(item for item in of_kind(manifests, "ExternalSecret") if item["metadata"]["name"] == "schema-registry")
    assert made["spec"]["dataFrom"] == [{"extract": {"key": "streamflow-prod/schema-registry"}}]


def test_only_the_clients_reach_the_registry(manifests: list[Manifest]) -> None:
    port = {"port": 8443, "protocol": "TCP"}
    policies = [
        item["spec"]["podSelector"]
        for item in of_kind(manifests, "NetworkPolicy")
        if item["metadata"]["name"] in {"registry-clients", "detect-registry"}
        and item["spec"]["egress"][0]["ports"] == [port]
    ]
    assert len(policies) == 2
    reach = {
        name for name, pod in pods(manifests).items()
        if any(matches(selector, pod["metadata"]["labels"]) for selector in policies)
    }  # fmt: skip
    assert reach == CLIENTS
