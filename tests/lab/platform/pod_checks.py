"""The pods of every overlay on a real API server: Pod Security, quota and permissions; ``make cluster-check``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from flink_jobs.waiting import wait_for
from tests.lab.platform.applied import NAMESPACE, Applied
from tests.lab.platform.k8s_manifests import Manifest, name_of, of_kind
from tests.lab.platform.pods import largest_counts, pods, strimzi_pods

LIMIT_S = 120.0
DETECTOR = "FlinkDeployment/streamflow-detect/taskmanager"
FLINK = f"system:serviceaccount:{NAMESPACE}:streamflow-flink"


def _pod(name: str, template: Manifest) -> Manifest:
    """Return a pod as the controller of the workload would create it."""
    metadata = {"name": name, "namespace": NAMESPACE} | template["metadata"]
    spec = copy.deepcopy(template["spec"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _all_pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, int]]:
    """Yield name, template and largest number of the pods of every workload."""
    counts = largest_counts(manifests)
    for name, template in (pods(manifests) | strimzi_pods(manifests)).items():
        yield name, template, counts[name]


def test_every_pod_is_admitted(applied: Applied) -> None:
    rejected = {
        name: error
        for name, template, _ in _all_pods(applied.manifests)
        if (error := applied.api.create(_pod("any", template), dry_run=True).error)
    }
    assert rejected == {}


def _declared_replicas(manifests: list[Manifest], name: str) -> int:
    spec = next(item["spec"] for item in manifests if name_of(item) == name)
    return int(spec.get("replicas", 1))


def test_all_pods_at_the_largest_parallelism_fit_the_quota(applied: Applied) -> None:
    made, rejected = list[Manifest](), list[str]()
    for name, template, count in _all_pods(applied.manifests):
        # The controllers have created one pod of a Job, and of a Deployment its replicas without an autoscaler.
        present = _declared_replicas(applied.manifests, name) if name.startswith(("Deployment/", "Job/")) else 0
        for _ in range(count - present):
            pod = _pod(f"fit-{len(made)}", template)
            response = applied.api.create(pod)
            made.append(pod)
            if response.error:
                rejected.append(f"{name}: {response.error}")
    for pod in made:
        applied.api.delete(pod)
    assert len(made) > 10
    assert rejected == []


def _made(applied: Applied, name: str) -> list[Manifest]:
    like = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE}}
    return [pod for pod in applied.api.list(like) if pod["metadata"]["labels"].get("app.kubernetes.io/name") == name]


@pytest.mark.parametrize(
    "workload",
    [
        "Deployment/streamflow-model-watch",
        "Deployment/streamflow-api",
        "Deployment/streamflow-case-worker",
        "Job/streamflow-migrate",
    ],
)
def test_controllers_create_the_pod(applied: Applied, workload: str) -> None:
    found = wait_for(
        partial(_made, applied, workload.partition("/")[2]), limit_s=LIMIT_S, what=f"the pod of {workload}"
    )
    template = pods(applied.manifests)[workload]
    for pod in found:  # the server added nothing to the manifest: no token volume, no other account
        assert pod["spec"]["serviceAccountName"] == "streamflow-tools"
        assert len(pod["spec"]["volumes"]) == len(template["spec"]["volumes"])


Plant = Callable[[dict[str, Any]], object]


def _main(spec: dict[str, Any]) -> dict[str, Any]:
    main: dict[str, Any] = spec["containers"][0]
    return main


REJECTED: dict[str, tuple[Plant, str]] = {
    "privileged": (lambda s: _main(s)["securityContext"].update(privileged=True, allowPrivilegeEscalation=True),
                   "privileged"),
    "root": (lambda s: s["securityContext"].update(runAsUser=0), "runAsUser=0"),
    "possibly root": (lambda s: s["securityContext"].pop("runAsNonRoot"), "runAsNonRoot != true"),
    "without seccomp": (lambda s: s["securityContext"].pop("seccompProfile"), "seccompProfile"),
    "with capabilities": (lambda s: _main(s)["securityContext"].pop("capabilities"), "unrestricted capabilities"),
    "with a folder of the node": (
        lambda s: s["volumes"].append({"name": "node", "hostPath": {"path": "/"}}), "restricted volume types"),
    "on the node's network": (lambda s: s.update(hostNetwork=True), "host namespaces"),
    "with an unknown account": (
        lambda s: s.update(serviceAccountName="streamflow"), 'serviceaccount "streamflow" not found'),
    "larger than the quota": (
        lambda s: [_main(s)["resources"][part].update(cpu="500") for part in ("requests", "limits")], "exceeded quota"),
}  # fmt: skip


@pytest.mark.parametrize("applied", ["staging"], indirect=True)
@pytest.mark.parametrize("mistake", REJECTED)
def test_the_server_rejects_a_pod_with_a_planted_mistake(applied: Applied, mistake: str) -> None:
    pod = _pod("any", pods(applied.manifests)[DETECTOR])
    assert not applied.api.create(pod, dry_run=True).error
    plant, words = REJECTED[mistake]
    plant(pod["spec"])
    assert words in applied.api.create(pod, dry_run=True).error


def test_a_service_with_a_load_balancer_is_rejected(applied: Applied) -> None:
    service = copy.deepcopy(of_kind(applied.manifests, "Service")[0])
    service["metadata"]["name"] += "-outside"
    service["spec"]["type"] = "LoadBalancer"
    assert (
        "exceeded quota: streamflow, requested: services.loadbalancers=1"
        in applied.api.create(service, dry_run=True).error
    )


def test_flink_may_create_its_pods_and_nothing_else(applied: Applied) -> None:
    flink = applied.api.acting_for(FLINK)
    pod = _pod("streamflow-detect-taskmanager-1-1", pods(applied.manifests)[DETECTOR])
    leader = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "streamflow-detect-cluster-config-map", "namespace": NAMESPACE},
    }
    assert not flink.create(pod, dry_run=True).error
    assert not flink.create(leader, dry_run=True).error
    assert "cannot create resource" in flink.create(pod | {"metadata": {"name": "x", "namespace": "default"}}).error
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "postgres-owner", "namespace": NAMESPACE}}
    assert "cannot get resource" in flink.get(secret).error
    assert "cannot patch resource" in flink.apply(of_kind(applied.manifests, "FlinkDeployment")[0]).error
    assert "cannot patch resource" in flink.apply(of_kind(applied.manifests, "Role")[0]).error
