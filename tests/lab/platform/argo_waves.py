"""The order in which Argo CD applies the manifests: waves, and what each object needs before it can become healthy.

Argo CD applies the objects of one wave and waits until all of them are healthy, hooks included, before it begins the
next wave. So an object that needs something from a later wave never becomes healthy, and the sync never ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.lab.platform.k8s_manifests import Manifest, name_of
from tests.lab.platform.pods import pods

_WAVE: Final = "argocd.argoproj.io/sync-wave"
Need = tuple[str, str]
"""Kind and name of a needed object. A Secret is provided by the object that its operator makes it from."""


def wave(manifest: Manifest) -> int:
    """Return the wave of a manifest; without an annotation it is 0."""
    return int(manifest["metadata"].get("annotations", {}).get(_WAVE, "0"))


def stuck(manifests: list[Manifest]) -> list[str]:
    """Return one line for each object that needs an object of a later wave, or one that nothing creates."""
    provided = dict(_provided(manifests))
    found = list[str]()
    for item in manifests:
        for kind, name in sorted(_needs(item, manifests)):
            at = provided.get((kind, name))
            if at is None:
                found.append(f"{name_of(item)} needs {kind}/{name}, which nothing creates")
            elif at > wave(item):
                found.append(f"{name_of(item)} in wave {wave(item)} needs {kind}/{name} of wave {at}")
    return found


def _provided(manifests: list[Manifest]) -> Iterator[tuple[Need, int]]:
    for item in manifests:
        name, at = item["metadata"]["name"], wave(item)
        yield (item["kind"], name), at
        if item["kind"] in {"ExternalSecret", "KafkaUser"}:
            yield ("Secret", name), at
        if item["kind"] == "Kafka":
            yield ("Secret", f"{name}-cluster-ca-cert"), at


def _needs(item: Manifest, manifests: list[Manifest]) -> set[Need]:
    kind, spec = item["kind"], item.get("spec", {})
    needs = set(_needs_of_pods(item))
    if "namespace" in item["metadata"]:
        needs.add(("Namespace", item["metadata"]["namespace"]))
    if kind == "SecretStore":
        needs.add(("ServiceAccount", spec["provider"]["aws"]["auth"]["jwt"]["serviceAccountRef"]["name"]))
    if kind == "ExternalSecret":
        needs |= {("SecretStore", spec["secretStoreRef"]["name"])} if "secretStoreRef" in spec else set()
        sources = [source["sourceRef"]["generatorRef"] for source in spec.get("dataFrom", ()) if "sourceRef" in source]
        needs |= {(source["kind"], source["name"]) for source in sources}
    if kind in {"KafkaTopic", "KafkaUser"}:
        needs.add(("Kafka", item["metadata"]["labels"]["strimzi.io/cluster"]))
    if password := spec.get("authentication", {}).get("password"):
        needs.add(("Secret", password["valueFrom"]["secretKeyRef"]["name"]))
    if kind == "Kafka":  # its brokers are those of the pools, on volumes of their class
        pools = [other for other in manifests if other["kind"] == "KafkaNodePool"]
        needs |= {("KafkaNodePool", pool["metadata"]["name"]) for pool in pools}
        needs |= {("StorageClass", volume["class"]) for pool in pools for volume in pool["spec"]["storage"]["volumes"]}
    if kind == "RoleBinding":
        needs.add((item["roleRef"]["kind"], item["roleRef"]["name"]))
    return needs


def _needs_of_pods(item: Manifest) -> Iterator[Need]:
    for pod in pods([item]).values():
        spec: dict[str, Any] = pod["spec"]
        yield "ServiceAccount", spec["serviceAccountName"]
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            for source in container.get("envFrom", ()):
                yield "ConfigMap", source["configMapRef"]["name"]
        for volume in spec.get("volumes", ()):
            for source in volume.get("projected", {}).get("sources", ()):
                if not source["secret"].get("optional"):
                    yield "Secret", source["secret"]["name"]
        # The default denies all traffic, so a pod needs the policies that admit its own.
        for label, policy in _POLICIES.items():
            if pod["metadata"]["labels"].get(label) == "true":
                yield "NetworkPolicy", policy


_POLICIES: Final = {"streamflow.io/database-client": "database-clients", "streamflow.io/kafka-client": "kafka-clients"}
