"""What StreamFlow asks of its manifests beyond what a schema knows. Each policy returns its complaints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.lab.platform.manifests import Manifest, name_of
from tests.lab.platform.pods import matches, pods, strimzi_pods

Complaints = Iterator[str]
_SECRET_NAME: Final = re.compile(r"(PASSWORD|SECRET|TOKEN|_KEY)$")
MIN_BUDGETS, MIN_NETWORK_POLICIES = 3, 5


def restricted(manifests: list[Manifest]) -> Complaints:
    """Pods run as Pod Security `restricted` wants, and ours on a file system they cannot write to."""
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
    """Containers ask for CPU and memory, and are limited in memory; volumes on the node have a size."""
    for name, pod in pods(manifests).items():
        for container in _containers(pod):
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= set(resources.get("requests", ())) or "memory" not in resources.get(
                "limits", ()
            ):
                yield f"{name}: {container['name']} has no requests, or no limit of memory"
        for volume in pod["spec"].get("volumes", ()):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{name}: volume {volume['name']} has no sizeLimit"
            if "hostPath" in volume:
                yield f"{name}: volume {volume['name']} is the node's own folder"


def probed(manifests: list[Manifest]) -> Complaints:
    """What runs for ever is watched: a liveness probe everywhere, a readiness probe where others wait for it."""
    for name, pod in pods(manifests).items():
        if name.startswith(("Job/", "CronJob/")):
            continue
        for container in _containers(pod):
            wanted = ["livenessProbe"] + (["readinessProbe"] if not name.endswith("/taskmanager") else [])
            for probe in wanted:
                if probe not in container:
                    yield f"{name}: {container['name']} has no {probe}"
                elif _probe_port(container[probe]) not in _port_names(container):
                    yield f"{name}: {container['name']}'s {probe} names a port that it does not have"


def pinned(manifests: list[Manifest]) -> Complaints:
    """Images carry a version or a digest."""
    for name, pod in pods(manifests).items():
        for container in _containers(pod):
            image = container["image"]
            version = image.rpartition("/")[2].partition(":")[2]
            if "@sha256:" not in image and version in {"", "latest"}:
                yield f"{name}: image {image} has no version"


def no_secrets(manifests: list[Manifest]) -> Complaints:
    """No Secret and no value of one is written down, and none comes through an environment variable."""
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
    """Every part of a job has its budget, and every budget a pod."""
    budgets = [item for item in manifests if item["kind"] == "PodDisruptionBudget"]
    if len(budgets) < MIN_BUDGETS:
        yield f"{len(budgets)} PodDisruptionBudgets, at least {MIN_BUDGETS} wanted"
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
    """Nothing may talk unless a policy says so, and the policies that name our pods name pods that exist."""
    policies = [item for item in manifests if item["kind"] == "NetworkPolicy"]
    if len(policies) < MIN_NETWORK_POLICIES:
        yield f"{len(policies)} NetworkPolicies, at least {MIN_NETWORK_POLICIES} wanted"
    if not any(_denies_all(item["spec"]) for item in policies):
        yield "no NetworkPolicy denies everything by default"
    labels = [_labels(pod) for pod in pods(manifests).values()]
    for item in policies:
        selector = item["spec"]["podSelector"]
        if not _by_operator(selector) and not any(matches(selector, pod) for pod in labels):
            yield f"{name_of(item)}: selects no pod"
        for rule in item["spec"].get("ingress", ()):
            if not rule.get("from"):
                yield f"{name_of(item)}: lets everybody in"
    for name, pod in pods(manifests).items():
        if pod["spec"].get("hostNetwork"):
            yield f"{name}: is on the node's network, which no policy concerns"


def accounts(manifests: list[Manifest]) -> Complaints:
    """Pods run under an account that is declared here, and roles name what they may do."""
    declared = {item["metadata"]["name"] for item in manifests if item["kind"] == "ServiceAccount"}
    for name, pod in pods(manifests).items():
        if pod["spec"].get("serviceAccountName") not in declared:
            yield f"{name}: its account is not declared"
    for item in manifests:
        if item["kind"] in {"Role", "ClusterRole"}:
            for rule in item["rules"]:
                if "*" in rule["verbs"] + rule["resources"] or "secrets" in rule["resources"]:
                    yield f"{name_of(item)}: may do everything, or read secrets"
        if item["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
            yield f"{name_of(item)}: a right beyond the namespace"


def mounted(manifests: list[Manifest]) -> Complaints:
    """Every mount has its volume, and every ConfigMap that is read exists."""
    maps = {item["metadata"]["name"] for item in manifests if item["kind"] == "ConfigMap"}
    for name, pod in pods(manifests).items():
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in _containers(pod):
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{name}: {container['name']} mounts {mount['name']}, which is no volume"
            for source in container.get("envFrom", ()):
                if source.get("configMapRef", {}).get("name") not in maps:
                    yield f"{name}: {container['name']} reads a ConfigMap that is not there"


POLICIES: Final[tuple[Callable[[list[Manifest]], Complaints], ...]] = (
    restricted, bounded, probed, pinned, no_secrets, disruption, fenced, accounts, mounted,
)  # fmt: skip


def complaints(manifests: list[Manifest]) -> list[str]:
    """Return what all policies say."""
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
    """Pods that Strimzi and Airflow's chart make are not among ours."""
    return any(key.startswith("strimzi.io/") or key == "release" for key in selector.get("matchLabels", ()))
