"""Policies for the manifests that no schema contains. Each policy yields one line per violation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.lab.platform.k8s_manifests import Manifest, name_of
from tests.lab.platform.pods import matches, pods, strimzi_pods

Complaints = Iterator[str]
_SECRET_NAME: Final = re.compile(r"(PASSWORD|SECRET|TOKEN|_KEY)$")
MIN_BUDGETS, MIN_NETWORK_POLICIES = 3, 5


def restricted(manifests: list[Manifest]) -> Complaints:
    """Pods meet Pod Security ``restricted``; our own containers also have a read-only root file system."""
    ours = pods(manifests)
    for name, pod in (ours | strimzi_pods(manifests)).items():
        security = pod["spec"].get("securityContext", {})
        if security.get("runAsNonRoot") is not True:
            yield f"{name}: runAsNonRoot is not true"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: seccompProfile is not RuntimeDefault"
        for container in _containers(pod):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{name}: {container['name']} may gain privileges"
            if name in ours and own.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: {container['name']} can write to its image"


def bounded(manifests: list[Manifest]) -> Complaints:
    """Containers request CPU and memory and have a memory limit; emptyDir volumes have a size limit."""
    for name, pod in pods(manifests).items():
        for container in _containers(pod):
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= set(resources.get("requests", ())) or "memory" not in resources.get(
                "limits", ()
            ):
                yield f"{name}: {container['name']} has no requests or no memory limit"
        for volume in pod["spec"].get("volumes", ()):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{name}: volume {volume['name']} has no sizeLimit"
            if "hostPath" in volume:
                yield f"{name}: volume {volume['name']} is a folder of the node"


def probed(manifests: list[Manifest]) -> Complaints:
    """Long-running containers have a liveness probe and, except TaskManagers, a readiness probe."""
    for name, pod in pods(manifests).items():
        if name.startswith(("Job/", "CronJob/")):
            continue
        for container in _containers(pod):
            wanted = ["livenessProbe"] + (["readinessProbe"] if not name.endswith("/taskmanager") else [])
            for probe in wanted:
                if probe not in container:
                    yield f"{name}: {container['name']} has no {probe}"
                elif _probe_port(container[probe]) not in _port_names(container):
                    yield f"{name}: the {probe} of {container['name']} names a port that the container does not have"


def pinned(manifests: list[Manifest]) -> Complaints:
    """Images carry a version or a digest."""
    for name, pod in pods(manifests).items():
        for container in _containers(pod):
            image = container["image"]
            version = image.rpartition("/")[2].partition(":")[2]
            if "@sha256:" not in image and version in {"", "latest"}:
                yield f"{name}: image {image} has no version"


def no_secrets(manifests: list[Manifest]) -> Complaints:
    """No manifest contains a Secret or a secret value, and no secret is an environment variable."""
    for item in manifests:
        if item["kind"] == "Secret":
            yield f"{name_of(item)}: a Secret in the manifests"
        if item["kind"] == "ConfigMap":
            yield from (
                f"{name_of(item)}: {key} is a secret" for key in item.get("data", {}) if _SECRET_NAME.search(key)
            )
    for name, pod in pods(manifests).items():
        for container in _containers(pod):
            if any("secretRef" in source for source in container.get("envFrom", ())):
                yield f"{name}: {container['name']} takes secrets from the environment"
            for variable in container.get("env", ()):
                value = variable.get("value", variable.get("valueFrom"))
                if _SECRET_NAME.search(variable["name"]) and value:
                    yield f"{name}: {variable['name']} is a secret in the environment"


def disruption(manifests: list[Manifest]) -> Complaints:
    """Every pod of a job has a PodDisruptionBudget, and every budget selects a pod."""
    budgets = [item for item in manifests if item["kind"] == "PodDisruptionBudget"]
    if len(budgets) < MIN_BUDGETS:
        yield f"{len(budgets)} PodDisruptionBudgets, expected at least {MIN_BUDGETS}"
    made = pods(manifests)
    for budget in budgets:
        if not any(matches(budget["spec"]["selector"], _labels(pod)) for pod in made.values()):
            yield f"{name_of(budget)}: protects no pod"
    for name, pod in made.items():
        if name.startswith("FlinkDeployment/") and not any(
            matches(budget["spec"]["selector"], _labels(pod)) for budget in budgets
        ):
            yield f"{name}: has no PodDisruptionBudget"


def fenced(manifests: list[Manifest]) -> Complaints:
    """A policy denies all traffic by default, and every policy for our pods selects an existing pod."""
    policies = [item for item in manifests if item["kind"] == "NetworkPolicy"]
    if len(policies) < MIN_NETWORK_POLICIES:
        yield f"{len(policies)} NetworkPolicies, expected at least {MIN_NETWORK_POLICIES}"
    if not any(_denies_all(item["spec"]) for item in policies):
        yield "no NetworkPolicy denies all traffic by default"
    labels = [_labels(pod) for pod in pods(manifests).values()]
    for item in policies:
        selector = item["spec"]["podSelector"]
        if not _by_operator(selector) and not any(matches(selector, pod) for pod in labels):
            yield f"{name_of(item)}: selects no pod"
        for rule in item["spec"].get("ingress", ()):
            if not rule.get("from"):
                yield f"{name_of(item)}: allows ingress from everywhere"
    for name, pod in pods(manifests).items():
        if pod["spec"].get("hostNetwork"):
            yield f"{name}: uses the network of the node, to which no policy applies"


def accounts(manifests: list[Manifest]) -> Complaints:
    """Pods run under a declared ServiceAccount, and roles list their permissions without wildcards."""
    declared = {item["metadata"]["name"] for item in manifests if item["kind"] == "ServiceAccount"}
    for name, pod in pods(manifests).items():
        if pod["spec"].get("serviceAccountName") not in declared:
            yield f"{name}: its account is not declared"
    for item in manifests:
        if item["kind"] in {"Role", "ClusterRole"}:
            for rule in item["rules"]:
                if "*" in rule["verbs"] + rule["resources"] or "secrets" in rule["resources"]:
                    yield f"{name_of(item)}: has a wildcard or may read secrets"
        if item["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
            yield f"{name_of(item)}: permission beyond the namespace"


def mounted(manifests: list[Manifest]) -> Complaints:
    """Every mount has a volume, and every referenced ConfigMap exists."""
    maps = {item["metadata"]["name"] for item in manifests if item["kind"] == "ConfigMap"}
    for name, pod in pods(manifests).items():
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in _containers(pod):
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{name}: {container['name']} mounts {mount['name']}, which is not a volume"
            for source in container.get("envFrom", ()):
                if source.get("configMapRef", {}).get("name") not in maps:
                    yield f"{name}: {container['name']} reads a ConfigMap that does not exist"


def keeps_state(manifests: list[Manifest]) -> Complaints:
    """Each change of a Flink job is an upgrade from its state; state that no operator restores stops the upgrade."""
    for item in manifests:
        if item["kind"] != "FlinkDeployment":
            continue
        job = item["spec"]["job"]
        if job.get("upgradeMode") != "savepoint":
            yield f"{name_of(item)}: upgradeMode is not savepoint, so that a change may start the job without state"
        # A canary leaves behind the open Kafka transactions of the running detector.
        if job.get("allowNonRestoredState") and item["metadata"]["name"] != "streamflow-canary":
            yield f"{name_of(item)}: allowNonRestoredState drops state that no operator restores"


def canonical(manifests: list[Manifest]) -> Complaints:
    """Amounts are written as the API server stores them; otherwise Argo CD would correct them forever."""
    for item in manifests:
        for at, amount in _amounts(item):
            unit = amount.lstrip("0123456789")
            number, larger = amount.removesuffix(unit), {"m": 1000, "Mi": 1024}.get(unit)
            if larger and number.isdigit() and int(number) % larger == 0:
                yield f"{name_of(item)}: the server stores {at} {amount} in a larger unit"


def _amounts(part: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any part of a manifest
    """Yield name and value of every amount of CPU and memory."""
    if isinstance(part, dict):
        for key, value in part.items():
            if isinstance(value, str) and key.rpartition(".")[2] in {"cpu", "memory"}:
                yield key, value
            else:
                yield from _amounts(value)
    elif isinstance(part, list):
        for item in part:
            yield from _amounts(item)


POLICIES: Final[tuple[Callable[[list[Manifest]], Complaints], ...]] = (
    restricted, bounded, probed, pinned, no_secrets, disruption, fenced, accounts, mounted, keeps_state,
    canonical,
)  # fmt: skip


def complaints(manifests: list[Manifest]) -> list[str]:
    """Return the violations of all policies."""
    if not pods(manifests):
        return ["no pod in the manifests"]
    return [text for policy in POLICIES for text in policy(manifests)]


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    spec = pod["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _labels(pod: Manifest) -> dict[str, str]:
    labels: dict[str, str] = pod["metadata"]["labels"]
    return labels


def _port_names(container: dict[str, Any]) -> set[str]:
    return {port["name"] for port in container.get("ports", ())}


def _probe_port(probe: dict[str, Any]) -> object:
    return (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")


def _denies_all(spec: dict[str, Any]) -> bool:
    both = set(spec.get("policyTypes", ())) == {"Ingress", "Egress"}
    return both and not spec["podSelector"] and "ingress" not in spec and "egress" not in spec


def _by_operator(selector: dict[str, Any]) -> bool:
    """Return whether the selector is for pods that Strimzi or Airflow's chart creates."""
    return any(key.startswith("strimzi.io/") or key == "release" for key in selector.get("matchLabels", ()))
