"""k8s/ applied to a real Kubernetes API server with the operators' own definitions: `make cluster-check`.

Not collected by `make test`: kube-apiserver is built from its sources, which takes a while the first time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.platform.applied import Applied
from tests.lab.platform.control_plane import Cluster
from tests.lab.platform.manifests import K8S, Manifest, build, name_of, of_kind


def _altered(sent: Any, kept: Any, at: str) -> Iterator[str]:  # noqa: ANN401 - parts of a document
    """Name what the server keeps otherwise than it was sent: Argo CD would put it right for ever."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key, value in sent.items():
            if key in kept:
                yield from _altered(value, kept[key], f"{at}.{key}")
            elif value or value is False or value == 0:
                yield f"{at}.{key}: {value!r} is not kept"
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for number, (one, other) in enumerate(zip(sent, kept, strict=True)):
            yield from _altered(one, other, f"{at}[{number}]")
    elif sent != kept:
        yield f"{at}: {sent!r} is kept as {kept!r}"


def _declared(manifest: Manifest) -> Manifest:
    """Return an object without what controllers write, and without the counter that goes up when they do."""
    changing = {"resourceVersion", "managedFields"}
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in changing}
    return {key: value for key, value in manifest.items() if key != "status"} | {"metadata": metadata}


def test_every_object_is_accepted_without_a_warning(applied: Applied) -> None:
    assert len(applied.answers) == len(applied.manifests) > 50
    for manifest, answer in applied.answers:
        assert not answer.refusal, f"{name_of(manifest)}: {answer.refusal}"
        assert not answer.warnings, f"{name_of(manifest)}: {answer.warnings}"


def test_what_is_kept_is_what_was_sent(applied: Applied) -> None:
    altered = [text for item in applied.manifests for text in _altered(item, applied.api.get(item).body, name_of(item))]
    assert altered == []


def test_applying_it_again_changes_nothing(applied: Applied) -> None:
    for manifest in applied.manifests:
        before, again = applied.api.get(manifest), applied.api.apply(manifest)
        assert not again.refusal
        assert _declared(again.body) == _declared(before.body)


def test_argocd_takes_its_applications(cluster: Cluster) -> None:
    manifests = build(K8S / "argocd")
    assert {item["kind"] for item in manifests} == {"Application", "AppProject"}
    for manifest in manifests:
        answer = cluster.api.apply(manifest)
        assert not answer.refusal
        assert not answer.warnings
        assert list(_altered(manifest, cluster.api.get(manifest).body, name_of(manifest))) == []


Plant = Callable[[Manifest], object]


def _container(deployment: Manifest) -> dict[str, Any]:
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


# Kind, a mistake in one of that kind, and words the server refuses it with. The latter half fits every schema.
REFUSED: dict[str, tuple[str, Plant, str]] = {
    "a misspelt field of a custom resource": (
        "FlinkDeployment", lambda m: m["spec"]["job"].update(paralelism=2), "paralelism: field not declared in schema",
    ),
    "a misspelt field of a pod": (
        "Deployment", lambda m: _container(m).update(livenesProbe={}), "livenesProbe: field not declared in schema",
    ),
    "a port as text": (
        "Deployment", lambda m: _container(m)["ports"][0].update(containerPort="9108"), "Port: expected numeric",
    ),
    "partitions in words": (
        "KafkaTopic", lambda m: m["spec"].update(partitions="four"), "partitions: expected numeric",
    ),
    "an upgrade mode that does not exist": (
        "FlinkDeployment", lambda m: m["spec"]["job"].update(upgradeMode="rolling"), 'Unsupported value: "rolling"',
    ),
    "a Flink version the operator does not know": (
        "FlinkDeployment", lambda m: m["spec"].update(flinkVersion="v9_9"), 'Unsupported value: "v9_9"',
    ),
    "a topic of more replicas than a short integer": (
        "KafkaTopic", lambda m: m["spec"].update(replicas=40000), "should be less than or equal to 32767",
    ),
    "a group of alerts without a name": (
        "PrometheusRule", lambda m: m["spec"]["groups"][0].pop("name"), 'omits all key fields ["name"]',
    ),
    "a rule between two fields of a custom resource": (
        "KafkaUser", lambda m: m["spec"]["authentication"].update(validityDays=1, renewalDays=1),
        "can be configured only with 'type: tls'",
    ),
    "a mount without a volume": (
        "Deployment", lambda m: m["spec"]["template"]["spec"]["volumes"].pop(), "volumeMounts[3].name: Not found",
    ),
    "a liveness probe that wants two successes": (
        "Deployment", lambda m: _container(m)["livenessProbe"].update(successThreshold=2), "must be 1",
    ),
    "labels that the selector does not select": (
        "Deployment", lambda m: m["spec"]["template"]["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}),
        "`selector` does not match template `labels`",
    ),
    "another selector for a Deployment that runs": (
        "Deployment", lambda m: [m["spec"]["selector"]["matchLabels"].update(tier="x"),
                                 m["spec"]["template"]["metadata"]["labels"].update(tier="x")],
        "field is immutable",
    ),
    "another role for a binding that exists": (
        "RoleBinding", lambda m: m["roleRef"].update(name="other"), "cannot change roleRef",
    ),
    "other parameters for a class of volumes that exists": (
        "StorageClass", lambda m: m["parameters"].update(type="gp2"), "updates to parameters are forbidden",
    ),
    "a budget with both limits": (
        "PodDisruptionBudget", lambda m: m["spec"].update(minAvailable=1), "cannot be both set",
    ),
    "a network that is no network": (
        "NetworkPolicy", lambda m: m["spec"].update(egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]),
        "must be a valid CIDR",
    ),
    "a schedule that is no schedule": (
        "CronJob", lambda m: m["spec"].update(schedule="daily"), "expected exactly 5 fields",
    ),
    "a request above the limit": (
        "Deployment", lambda m: _container(m)["resources"]["requests"].update(memory="2Gi"),
        "must be less than or equal to memory limit",
    ),
    "a quota in words": (
        "ResourceQuota", lambda m: m["spec"]["hard"].update({"requests.cpu": "many"}), "quantities must match",
    ),
}  # fmt: skip


@pytest.mark.parametrize("applied", ["staging"], indirect=True)
@pytest.mark.parametrize("mistake", REFUSED)
def test_the_server_refuses_a_planted_mistake(applied: Applied, mistake: str) -> None:
    kind, plant, words = REFUSED[mistake]
    manifest = copy.deepcopy(of_kind(applied.manifests, kind)[0])
    assert not applied.api.apply(manifest, dry_run=True).refusal
    plant(manifest)
    assert words in applied.api.apply(manifest, dry_run=True).refusal


def test_the_server_refuses_a_kind_nobody_defines(cluster: Cluster) -> None:
    metadata = {"name": "x", "namespace": "streamflow"}
    with pytest.raises(LookupError, match="knows no FlinkJob"):
        cluster.api.apply({"apiVersion": "flink.apache.org/v1beta1", "kind": "FlinkJob", "metadata": metadata})


def test_an_amount_that_is_kept_otherwise_is_named(cluster: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "other", "namespace": "argocd"},
        "spec": {"hard": {"requests.cpu": "2000m"}},
    }
    kept = cluster.api.apply(quota, dry_run=True).body
    assert list(_altered(quota, kept, "quota")) == ["quota.spec.hard.requests.cpu: '2000m' is kept as '2'"]
