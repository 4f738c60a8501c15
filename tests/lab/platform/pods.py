"""The pods that result from the manifests, including the pods that operators create from custom resources."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.lab.platform.k8s_manifests import Manifest, name_of

FLINK_CONTAINER = "flink-main-container"
_ROLES = {"jobManager": "jobmanager", "taskManager": "taskmanager"}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod of every workload (labels and spec as they will run), by the name of the workload."""
    return dict(_pods(manifests))


def _pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for item in manifests:
        if item["kind"] in {"DaemonSet", "Deployment", "StatefulSet", "Job"}:
            yield name_of(item), item["spec"]["template"]
        elif item["kind"] == "CronJob":
            yield name_of(item), item["spec"]["jobTemplate"]["spec"]["template"]
        elif item["kind"] == "FlinkDeployment":
            for part, component in _ROLES.items():
                yield f"{name_of(item)}/{component}", _flink_pod(item, part, component)


def _flink_pod(deployment: Manifest, part: str, component: str) -> Manifest:
    """Return a pod as Flink's operator builds it: common template, template of the part, image and labels."""
    spec = deployment["spec"]
    pod: Manifest = _merge(copy.deepcopy(spec.get("podTemplate", {})), spec[part].get("podTemplate", {}))
    labels = pod.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {"app": deployment["metadata"]["name"], "component": component, "type": "flink-native-kubernetes"}
    main = next(item for item in pod["spec"]["containers"] if item["name"] == FLINK_CONTAINER)
    main["image"] = spec["image"]
    resource = spec[part]["resource"]
    amounts = {"cpu": str(resource["cpu"]), "memory": resource["memory"].replace("m", "Mi")}
    main["resources"] = {"requests": amounts, "limits": amounts}
    if component == "jobmanager":
        main["ports"] = [*main.get("ports", []), {"name": "rest", "containerPort": 8081}]
    pod["spec"]["serviceAccountName"] = spec["serviceAccount"]
    return pod


def _merge(base: Any, over: Any) -> Any:  # noqa: ANN401 - parts of a document
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: _merge(base[key], value) if key in base else value for key, value in over.items()}
    if isinstance(base, list) and isinstance(over, list) and all(isinstance(x, dict) and "name" in x for x in over):
        named = {item["name"]: item for item in base}
        return list((named | {x["name"]: _merge(named.get(x["name"], {}), x) for x in over}).values())
    return over


def strimzi_pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pods that Strimzi creates, by the name of the resource, as far as the manifests define them.

    The security contexts of the custom resource replace those of the operator, which `restricted` does not admit.
    """
    return dict(_strimzi_pods(manifests))


def _strimzi_pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for kafka in (item for item in manifests if item["kind"] == "Kafka"):
        labels = {"strimzi.io/cluster": kafka["metadata"]["name"]}
        cluster = kafka["spec"]["kafka"]
        for pool in (item for item in manifests if item["kind"] == "KafkaNodePool"):
            template = pool["spec"].get("template") or cluster.get("template", {})  # one or the other
            spec = _strimzi_pod(template, {"kafka": ("kafkaContainer", pool["spec"].get("resources", {}))})
            if "rack" in cluster:  # Strimzi adds an init container that asks the API for the zone of the node
                first = _strimzi_pod(template, {"kafka-init": ("initContainer", {})})
                spec["initContainers"] = first["containers"]
            yield name_of(pool), {"metadata": {"labels": labels}, "spec": spec}
        entity = kafka["spec"]["entityOperator"]
        parts = {
            "topic-operator": ("topicOperatorContainer", entity["topicOperator"].get("resources", {})),
            "user-operator": ("userOperatorContainer", entity["userOperator"].get("resources", {})),
        }
        spec = _strimzi_pod(entity.get("template", {}), parts)
        yield f"{name_of(kafka)}/entity-operator", {"metadata": {"labels": labels}, "spec": spec}


def _strimzi_pod(template: dict[str, Any], containers: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    made = [
        {"name": name, "image": "strimzi", "resources": resources}
        | {"securityContext": template.get(part, {}).get("securityContext", {})}
        for name, (part, resources) in containers.items()
    ]
    return {"containers": made, "securityContext": template.get("pod", {}).get("securityContext", {})}


def largest_counts(manifests: list[Manifest]) -> dict[str, int]:
    """Return how many pods each workload has at most, with all autoscalers at their upper limit."""
    scaled = {
        f"{item['spec']['scaleTargetRef']['kind']}/{item['spec']['scaleTargetRef']['name']}": item["spec"][
            "maxReplicas"
        ]
        for item in manifests
        if item["kind"] == "HorizontalPodAutoscaler"
    }
    specs = {name_of(item): item["spec"] for item in manifests if "spec" in item}
    counts = dict[str, int]()
    for name in pods(manifests) | strimzi_pods(manifests):
        kind, resource, *part = name.split("/")
        spec = specs[f"{kind}/{resource}"]
        if part == ["jobmanager"]:
            counts[name] = spec["jobManager"]["replicas"]
        elif part == ["taskmanager"]:
            options = spec["flinkConfiguration"]
            is_scaled = options.get("job.autoscaler.enabled") == "true"
            limit = int(options["job.autoscaler.vertex.max-parallelism"]) if is_scaled else spec["job"]["parallelism"]
            counts[name] = limit
        else:
            counts[name] = scaled.get(name) or spec.get("replicas", 1)
    return counts


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector matches the labels of a pod; an empty selector matches every pod.

    Raises:
        ValueError: the selector has an operator other than ``In``.
    """
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for item in selector.get("matchExpressions", ()):
        if item["operator"] != "In":
            raise ValueError(f"selector operator {item['operator']} is not supported; add it to {__file__}")
        if labels.get(item["key"]) not in item["values"]:
            return False
    return True
