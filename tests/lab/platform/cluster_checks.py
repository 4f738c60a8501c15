"""k8s/ applied to a real Kubernetes API server with the operators' own definitions; ``make cluster-check`` runs this.

``make test`` does not collect this file, because the first build of kube-apiserver takes about 20 minutes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.platform.applied import Applied
from tests.lab.platform.control_plane import Cluster
from tests.lab.platform.k8s_manifests import K8S, Manifest, build, name_of, of_kind


def _altered(sent: Any, kept: Any, at: str) -> Iterator[str]:  # noqa: ANN401 - parts of a document
    """Yield the fields that the server stores in another form than sent; Argo CD would correct them forever."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key, value in sent.items():
            if key in kept:
                yield from _altered(value, kept[key], f"{at}.{key}")
            elif value or value is False or value == 0:
                yield f"{at}.{key}: {value!r} is not stored"
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for number, (one, other) in enumerate(zip(sent, kept, strict=True)):
            yield from _altered(one, other, f"{at}[{number}]")
    elif sent != kept:
        yield f"{at}: {sent!r} is stored as {kept!r}"


def _declared(manifest: Manifest) -> Manifest:
    """Return an object without the fields that controllers write and without their version counters."""
    changing = {"resourceVersion", "managedFields"}
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in changing}
    return {key: value for key, value in manifest.items() if key != "status"} | {"metadata": metadata}


def test_every_object_is_accepted_without_a_warning(applied: Applied) -> None:
    assert len(applied.responses) == len(applied.manifests) > 50
    for manifest, response in applied.responses:
        assert not response.error, f"{name_of(manifest)}: {response.error}"
        assert not response.warnings, f"{name_of(manifest)}: {response.warnings}"


def test_the_server_stores_every_field_as_it_was_sent(applied: Applied) -> None:
    altered = [text for item in applied.manifests for text in _altered(item, applied.api.get(item).body, name_of(item))]
    assert altered == []


def test_applying_it_again_changes_nothing(applied: Applied) -> None:
    for manifest in applied.manifests:
        before, again = applied.api.get(manifest), applied.api.apply(manifest)
        assert not again.error
        assert _declared(again.body) == _declared(before.body)


def _accepted(cluster: Cluster, manifests: list[Manifest]) -> None:
    """Check that the server takes each object without a warning and stores it as it was sent."""
    for manifest in manifests:
        response = cluster.api.apply(manifest)
        assert not response.error, f"{name_of(manifest)}: {response.error}"
        assert not response.warnings, f"{name_of(manifest)}: {response.warnings}"
        assert list(_altered(manifest, cluster.api.get(manifest).body, name_of(manifest))) == []


def test_the_server_accepts_the_argocd_applications(cluster: Cluster) -> None:
    manifests = build(K8S / "argocd")
    assert {item["kind"] for item in manifests} == {"Application", "AppProject"}
    _accepted(cluster, manifests)


def test_the_server_accepts_the_collector_and_its_pod(cluster: Cluster) -> None:
    manifests = build(K8S / "collector")
    _accepted(cluster, manifests)
    (daemon,) = of_kind(manifests, "DaemonSet")
    metadata = {"name": "any", "namespace": "observability"} | daemon["spec"]["template"]["metadata"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": daemon["spec"]["template"]["spec"]}
    assert not cluster.api.create(pod, dry_run=True).error


Plant = Callable[[Manifest], object]


def _container(deployment: Manifest) -> dict[str, Any]:
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


# Kind, a mistake in an object of that kind, and a part of the server's error message. The first two show that unknown
# fields are errors here; no schema finds the other mistakes. kubeconform (test_manifests.py) finds the rest.
REJECTED: dict[str, tuple[str, Plant, str]] = {
    "a misspelt field of a custom resource": (
        "FlinkDeployment", lambda m: m["spec"]["job"].update(paralelism=2), "paralelism: field not declared in schema",
    ),
    "a misspelt field of a pod": (
        "Deployment", lambda m: _container(m).update(livenesProbe={}), "livenesProbe: field not declared in schema",
    ),
    "a rule between two fields of a custom resource": (
        "KafkaUser", lambda m: m["spec"]["authentication"].update(validityDays=1, renewalDays=1),
        "can be configured only with 'type: tls'",
    ),
    "a mount without a volume": (
        "Deployment", lambda m: m["spec"]["template"]["spec"]["volumes"].pop(), "volumeMounts[3].name: Not found",
    ),
    "a liveness probe that requires two successes": (
        "Deployment", lambda m: _container(m)["livenessProbe"].update(successThreshold=2), "must be 1",
    ),
    "labels that the selector does not match": (
        "Deployment", lambda m: m["spec"]["template"]["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}),
        "`selector` does not match template `labels`",
    ),
    "another selector for an existing Deployment": (
        "Deployment", lambda m: [m["spec"]["selector"]["matchLabels"].update(tier="x"),
                                 m["spec"]["template"]["metadata"]["labels"].update(tier="x")],
        "field is immutable",
    ),
    "another role for an existing binding": (
        "RoleBinding", lambda m: m["roleRef"].update(name="other"), "cannot change roleRef",
    ),
    "other parameters for an existing StorageClass": (
        "StorageClass", lambda m: m["parameters"].update(type="gp2"), "updates to parameters are forbidden",
    ),
    "a budget with both limits": (
        "PodDisruptionBudget", lambda m: m["spec"].update(minAvailable=1), "cannot be both set",
    ),
    "an invalid network": (
        "NetworkPolicy", lambda m: m["spec"].update(egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]),
        "must be a valid CIDR",
    ),
    "an invalid schedule": (
        "CronJob", lambda m: m["spec"].update(schedule="daily"), "expected exactly 5 fields",
    ),
    "a request above the limit": (
        "Deployment", lambda m: _container(m)["resources"]["requests"].update(memory="2Gi"),
        "must be less than or equal to memory limit",
    ),
    "a quota as a word": (
        "ResourceQuota", lambda m: m["spec"]["hard"].update({"requests.cpu": "many"}), "quantities must match",
    ),
}  # fmt: skip


@pytest.mark.parametrize("applied", ["staging"], indirect=True)
@pytest.mark.parametrize("mistake", REJECTED)
def test_the_server_rejects_a_planted_mistake(applied: Applied, mistake: str) -> None:
    kind, plant, words = REJECTED[mistake]
    manifest = copy.deepcopy(of_kind(applied.manifests, kind)[0])
    assert not applied.api.apply(manifest, dry_run=True).error
    plant(manifest)
    assert words in applied.api.apply(manifest, dry_run=True).error


def test_the_server_rejects_a_kind_without_a_definition(cluster: Cluster) -> None:
    metadata = {"name": "x", "namespace": "streamflow"}
    with pytest.raises(LookupError, match="has no kind FlinkJob"):
        cluster.api.apply({"apiVersion": "flink.apache.org/v1beta1", "kind": "FlinkJob", "metadata": metadata})


def test_an_amount_that_is_stored_in_another_form_is_found(cluster: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "other", "namespace": "argocd"},
        "spec": {"hard": {"requests.cpu": "2000m"}},
    }
    kept = cluster.api.apply(quota, dry_run=True).body
    assert list(_altered(quota, kept, "quota")) == ["quota.spec.hard.requests.cpu: '2000m' is stored as '2'"]
