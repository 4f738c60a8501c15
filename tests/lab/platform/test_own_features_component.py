"""The optional component of own features: every process that loads models has the modules and both variables."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any

from flink_jobs.core.own_features.check import check_features
from flink_jobs.core.own_features.source import read_sources
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import K8S, Manifest, kubeconform, of_kind, with_components
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import pods

USERS = {
    "Deployment/streamflow-api",
    "Deployment/streamflow-case-worker",
    "Deployment/streamflow-model-watch",
    "CronJob/streamflow-admin",
}


def _mounts(pod: dict[str, Any]) -> list[str]:
    """Return where a pod mounts the ConfigMap, followed by the ConfigMap's name."""
    names = [item["configMap"]["name"] for item in pod["spec"]["volumes"] if item["name"] == "own-features"]
    mounts = [
        item["mountPath"] for item in pod["spec"]["containers"][0]["volumeMounts"] if item["name"] == "own-features"
    ]
    return mounts + names


def test_each_process_that_loads_models_has_the_modules(schemas: Path, tmp_path: Path) -> None:
    manifests = with_components(tmp_path, "prod", "own-features")
    assert kubeconform(manifests, schemas) == complaints(manifests) == stuck(manifests) == []
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(manifests, "ConfigMap")}
    (name,) = [name for name in maps if name.startswith("own-features-")]
    (settings,) = [data for key, data in maps.items() if key.startswith("streamflow-settings-")]
    modules = settings["STREAMFLOW_FEATURES"].split(",")
    assert {f"{module}.py" for module in modules} == set(maps[name])
    where = settings["STREAMFLOW_FEATURES_DIR"]
    found = {key: _mounts(pod) for key, pod in pods(manifests).items()}
    assert {key for key in found if found[key]} >= USERS
    assert all(found[key] == [where, name] for key in USERS)
    assert _mounts(_job(manifests, "streamflow-detect")["spec"]["podTemplate"]) == [where, name]
    assert _mounts(_job(manifests, "streamflow-archive")["spec"]["podTemplate"]) == []


def _job(manifests: list[Manifest], name: str) -> Manifest:
    return next(item for item in of_kind(manifests, "FlinkDeployment") if item["metadata"]["name"] == name)


def test_the_example_module_passes_the_check_of_own_features() -> None:
    sources = read_sources(["bank_features"], K8S / "components" / "own-features")
    # The duration depends on the machine that runs this test.
    problems = [text for item in check_features(sources, perf_counter_ns) for text in item.problems]
    assert [text for text in problems if "a call takes" not in text] == []
