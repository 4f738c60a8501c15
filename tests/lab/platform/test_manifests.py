"""k8s/ as Kustomize builds it, checked by kubeconform with the operators' own definitions and by our policies.

Every check is shown to fail: each planted mistake must be found.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.platform.k8s_manifests import K8S, OVERLAYS, REPO, Manifest, build, kubeconform, of_kind
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import largest_counts, pods, strimzi_pods

Overlays = Mapping[str, list[Manifest]]


def _find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == name)


def _detect(manifests: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = _find(manifests, "FlinkDeployment", "streamflow-detect")["spec"]
    return spec


def _watch(manifests: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = _find(manifests, "Deployment", "streamflow-model-watch")["spec"]["template"]["spec"]
    return spec


def _remove(manifests: list[Manifest], kind: str, name: str) -> None:
    manifests.remove(_find(manifests, kind, name))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_fits_its_definition(overlays: Overlays, schemas: Path, overlay: str) -> None:
    assert kubeconform(overlays[overlay], schemas) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_policies(overlays: Overlays, overlay: str) -> None:
    assert complaints(overlays[overlay]) == []


def test_argocd_applications_fit_their_definition(schemas: Path) -> None:
    manifests = build(K8S / "argocd")
    assert {item["kind"] for item in manifests} >= {"Application", "AppProject"}
    assert kubeconform(manifests, schemas) == []
    projects = {item["metadata"]["name"] for item in of_kind(manifests, "AppProject")}
    for item in of_kind(manifests, "Application"):
        assert item["spec"]["project"] in projects
        assert item["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
        for source in item["spec"].get("sources", [item["spec"].get("source")]):
            if "path" in source:
                assert (REPO / source["path"] / "kustomization.yaml").exists()


Plant = Callable[[list[Manifest]], object]

UNFIT: dict[str, Plant] = {
    "a misspelt field of the job": lambda m: _detect(m)["job"].update(paralelism=2),
    "an unknown upgrade mode": lambda m: _detect(m)["job"].update(upgradeMode="rolling"),
    "a Flink version that the operator does not support": lambda m: _detect(m).update(flinkVersion="v9_9"),
    "a port as text": lambda m: _watch(m)["containers"][0]["ports"][0].update(containerPort="9108"),
    "a misspelt field of a pod in a custom resource": lambda m: _detect(m)["podTemplate"]["spec"].update(tolerance=[]),
    "a topic with partitions as a word": lambda m: of_kind(m, "KafkaTopic")[0]["spec"].update(partitions="four"),
    "an ACL on an unknown resource type": lambda m: of_kind(m, "KafkaUser")[0]["spec"]["authorization"]["acls"][0][
        "resource"
    ].update(type="table"),
    "an unknown kind of secret store": lambda m: of_kind(m, "SecretStore")[0]["spec"]["provider"].update(azur={}),
    "a monitor without a named port": lambda m: of_kind(m, "PodMonitor")[0]["spec"].update(
        podMetricsEndpoints="metrics"
    ),
    "more replicas of a topic than a short integer holds": lambda m: of_kind(m, "KafkaTopic")[0]["spec"].update(
        replicas=40000
    ),
    "a group of alerts without a name": lambda m: of_kind(m, "PrometheusRule")[0]["spec"]["groups"][0].pop("name"),
    "a kind without a definition": lambda m: m.append(
        {"apiVersion": "x.io/v1", "kind": "Xyz", "metadata": {"name": "x"}}
    ),
}


@pytest.mark.parametrize("mistake", UNFIT)
def test_kubeconform_finds_a_planted_mistake(overlays: Overlays, schemas: Path, mistake: str) -> None:
    manifests = copy.deepcopy(overlays["prod"])
    UNFIT[mistake](manifests)
    changed = [item for item in manifests if item not in overlays["prod"]]
    assert kubeconform(changed, schemas)


def _open_pod(manifests: list[Manifest]) -> None:
    _detect(manifests)["podTemplate"]["spec"]["securityContext"]["runAsNonRoot"] = False


UNWISE: dict[str, tuple[Plant, str]] = {
    "root": (_open_pod, "runAsNonRoot"),
    "writable image": (
        lambda m: _watch(m)["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
        "can write to its image",
    ),
    "capabilities": (
        lambda m: _watch(m)["containers"][0]["securityContext"].pop("capabilities"), "may gain privileges",
    ),
    "capabilities of a broker": (
        lambda m: of_kind(m, "Kafka")[0]["spec"]["kafka"]["template"].pop("kafkaContainer"),
        "kafka may gain privileges",
    ),
    "capabilities of the init container that Strimzi adds": (
        lambda m: of_kind(m, "Kafka")[0]["spec"]["kafka"]["template"].pop("initContainer"),
        "kafka-init may gain privileges",
    ),
    "Strimzi's operators as root": (
        lambda m: of_kind(m, "Kafka")[0]["spec"]["entityOperator"]["template"].pop("pod"),
        "Kafka/streamflow/entity-operator: runAsNonRoot",
    ),
    "no memory limit": (lambda m: _watch(m)["containers"][0]["resources"].pop("limits"), "no memory limit"),
    "scratch space without a limit": (
        lambda m: _detect(m)["podTemplate"]["spec"]["volumes"][0]["emptyDir"].clear(), "has no sizeLimit",
    ),
    "no liveness probe": (lambda m: _watch(m)["containers"][0].pop("livenessProbe"), "has no livenessProbe"),
    "a probe on another port": (
        lambda m: _watch(m)["containers"][0]["readinessProbe"]["httpGet"].update(port="web"),
        "that the container does not have",
    ),
    "image without a version": (lambda m: _detect(m).update(image="streamflow/job"), "has no version"),
    "image `latest`": (lambda m: _detect(m).update(image="x.io/streamflow/job:latest"), "has no version"),
    "a Secret": (
        lambda m: m.append({"kind": "Secret", "metadata": {"name": "postgres"}, "data": {}}),
        "a Secret in the manifests",
    ),
    "a password in the environment": (
        lambda m: _watch(m)["containers"][0].update(env=[{"name": "STREAMFLOW_POSTGRES_PASSWORD", "value": "hunter2"}]),
        "is a secret in the environment",
    ),
    "no budget": (
        lambda m: _remove(m, "PodDisruptionBudget", "streamflow-detect-taskmanager"), "has no PodDisruptionBudget",
    ),
    "a budget that selects no pod": (
        lambda m: of_kind(m, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"].update(app="other"),
        "protects no pod",
    ),
    "no default deny": (lambda m: _remove(m, "NetworkPolicy", "default-deny"), "denies all traffic by default"),
    "a policy that selects no pod": (
        lambda m: _find(m, "NetworkPolicy", "detect-within")["spec"]["podSelector"]["matchLabels"].update(app="x"),
        "selects no pod",
    ),
    "a policy that allows ingress from everywhere": (
        lambda m: _find(m, "NetworkPolicy", "flink-operator")["spec"]["ingress"][0].pop("from"),
        "allows ingress from everywhere",
    ),
    "a permission to read secrets": (
        lambda m: of_kind(m, "Role")[0]["rules"][0]["resources"].append("secrets"), "or may read secrets",
    ),
    "an undeclared account": (lambda m: _detect(m).update(serviceAccount="default"), "account is not declared"),
    "a mount without a volume": (
        lambda m: _detect(m)["podTemplate"]["spec"]["volumes"].pop(), "which is not a volume",
    ),
    "an upgrade without state": (
        lambda m: _detect(m)["job"].update(upgradeMode="stateless"), "upgradeMode is not savepoint",
    ),
    "the operator's default, which is an upgrade without state": (
        lambda m: _detect(m)["job"].pop("upgradeMode"), "upgradeMode is not savepoint",
    ),
    "state that may be dropped": (
        lambda m: _detect(m)["job"].update(allowNonRestoredState=True), "allowNonRestoredState drops state",
    ),
    "an amount in a unit that the server replaces": (
        lambda m: _watch(m)["containers"][0]["resources"]["requests"].update(cpu="2000m"), "in a larger unit",
    ),
    "settings that do not exist": (
        lambda m: _watch(m)["containers"][0]["envFrom"][0]["configMapRef"].update(name="gone"),
        "reads a ConfigMap that does not exist",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", UNWISE)
def test_policies_find_a_planted_mistake(overlays: Overlays, mistake: str) -> None:
    manifests = copy.deepcopy(overlays["prod"])
    plant, words = UNWISE[mistake]
    plant(manifests)
    assert any(words in text for text in complaints(manifests)), complaints(manifests)


def test_a_patch_of_a_missing_object_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "dev"
    with (overlay / "patch.yaml").open("a") as patch:
        yaml.safe_dump(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gone"}}, patch, explicit_start=True
        )
    with pytest.raises(ValueError, match="gone"):
        build(overlay)


def test_pods_of_custom_resources_are_checked(overlays: Overlays) -> None:
    names = set(pods(overlays["prod"]))
    for job in ("detect", "archive"):
        for part in ("jobmanager", "taskmanager"):
            assert f"FlinkDeployment/streamflow-{job}/{part}" in names


def test_production_is_the_largest(overlays: Overlays) -> None:
    parallelism = {name: _detect(overlays[name])["job"]["parallelism"] for name in OVERLAYS}
    assert parallelism["dev"] <= parallelism["staging"] <= parallelism["prod"]


SIZES = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30, "": 1.0}


def _amount(text: object) -> float:
    """Return a quantity of Kubernetes as a number.

    >>> _amount("500m"), _amount("2Gi"), _amount(1)
    (0.5, 2147483648.0, 1.0)
    """
    digits = str(text).rstrip("GMim")
    return float(digits) * SIZES[str(text).removeprefix(digits)]


def overspent(manifests: list[Manifest]) -> dict[str, float]:
    """Return the amounts of the quota that all pods exceed when every autoscaler is at its upper limit."""
    defaults = of_kind(manifests, "LimitRange")[0]["spec"]["limits"][0]
    counts, used = largest_counts(manifests), dict[str, float]()
    for name, pod in (pods(manifests) | strimzi_pods(manifests)).items():
        for container in pod["spec"]["containers"]:
            for part, standard in (("requests", "defaultRequest"), ("limits", "default")):
                for resource, amount in (defaults[standard] | container["resources"].get(part, {})).items():
                    key = f"{part}.{resource}"
                    surge = 1 if name.startswith("Deployment/") else 0  # a rolling upgrade
                    used[key] = used.get(key, 0.0) + (counts[name] + surge) * _amount(amount)
    hard = of_kind(manifests, "ResourceQuota")[0]["spec"]["hard"]
    return {
        key: amount - _amount(hard[key]) for key, amount in used.items() if key in hard and amount > _amount(hard[key])
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_pods_fit_the_quota_with_every_autoscaler_at_its_limit(overlays: Overlays, overlay: str) -> None:
    """`make cluster-check` has the same question to the controller of the quota."""
    assert overspent(overlays[overlay]) == {}


def test_a_quota_that_is_too_small_is_found(overlays: Overlays) -> None:
    manifests = copy.deepcopy(overlays["prod"])
    _find(manifests, "HorizontalPodAutoscaler", "streamflow-api")["spec"]["maxReplicas"] = 200
    assert set(overspent(manifests)) == {"requests.cpu", "limits.memory"}
