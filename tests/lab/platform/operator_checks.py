"""FlinkDeployments checked by the validator of Flink's Kubernetes operator; ``make cluster-check`` runs this.

The newest operator published as a jar is 1.7 (API 1.10), which supports Flink up to 1.20. The checks therefore pass
``v1_20`` in place of ``v2_2`` and change nothing else. The option names of Flink 1.20 are those of 2.2.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from flink_jobs.flink.jobs import JOBS, OPTIONAL_JOBS
from tests.lab.platform.k8s_manifests import COMPONENTS, OVERLAYS, REPO, Manifest, of_kind, with_components

JARS = REPO / ".tools" / "jars" / "flink-operator"
REPLACED_VERSIONS = {"v2_2": "v1_20"}
Validate = Callable[[Manifest], str]


@pytest.fixture(scope="module")
def validate() -> Iterator[Validate]:
    """Yield a function that returns the operator's error for a deployment, or an empty string."""
    assert list(JARS.glob("flink-kubernetes-operator-1*.jar")), "no jars; run `make cluster-check`, which fetches them"
    quiet = ["-Dlog4j2.level=OFF", "-Dlog4j.rootLogger.level=OFF"]
    port = launch_gateway(classpath=f"{JARS}/*", javaopts=quiet, die_on_exit=True)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port))
    java = gateway.jvm
    operator = java.org.apache.flink.kubernetes.operator
    validator = operator.validation.DefaultValidator(
        operator.config.FlinkConfigManager(java.org.apache.flink.configuration.Configuration())
    )
    kind = java.java.lang.Class.forName("org.apache.flink.kubernetes.operator.api.FlinkDeployment")

    def ask(manifest: Manifest) -> str:
        known = copy.deepcopy(manifest)
        version = known["spec"].get("flinkVersion")
        known["spec"]["flinkVersion"] = REPLACED_VERSIONS.get(version, version)
        read = java.io.fabric8.kubernetes.client.utils.Serialization.unmarshal(json.dumps(known), kind)
        return str(validator.validateDeployment(read).orElse(""))

    yield ask
    gateway.shutdown()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operator_accepts_every_job(validate: Validate, overlay: str, tmp_path: Path) -> None:
    deployments = of_kind(with_components(tmp_path, overlay, *COMPONENTS), "FlinkDeployment")
    assert {item["spec"]["flinkVersion"] for item in deployments} == set(REPLACED_VERSIONS)
    found = {item["metadata"]["name"]: validate(item) for item in deployments}
    assert found == {f"streamflow-{job}": "" for job in (*JOBS, *OPTIONAL_JOBS, "canary")}


def _options(manifest: Manifest) -> dict[str, Any]:
    options: dict[str, Any] = manifest["spec"]["flinkConfiguration"]
    return options


# None of these violates the definition: the API server and kubeconform accept all of them.
REJECTED: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "upgrades by savepoint without a savepoint folder": (
        lambda m: _options(m).pop("execution.checkpointing.savepoint-dir"),
        "execution.checkpointing.savepoint-dir] is not set",
    ),
    "no checkpoint folder": (
        lambda m: _options(m).pop("execution.checkpointing.dir"), "Checkpoint directory",
    ),
    "rollback without high availability": (
        lambda m: _options(m).pop("high-availability.type"), "HA must be enabled for rollback support",
    ),
    "no JobManager": (
        lambda m: m["spec"]["jobManager"].update(replicas=0), "replicas should not be configured less than one",
    ),
    "an option that the operator sets itself": (
        lambda m: _options(m).update({"kubernetes.cluster-id": "other"}), "Forbidden Flink config key",
    ),
    "a parallelism below one": (
        lambda m: m["spec"]["job"].update(parallelism=-1), "Job parallelism must be larger than 0",
    ),
    "memory without a unit": (
        lambda m: m["spec"]["taskManager"]["resource"].update(memory="plenty"), "resource memory parse error",
    ),
    "a name that is invalid for a Service": (
        lambda m: m["metadata"].update(name="Streamflow_Detect"), "is invalid, must consist of",
    ),
    "no Flink version": (lambda m: m["spec"].pop("flinkVersion"), "Flink Version must be defined"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REJECTED)
def test_the_operator_finds_a_planted_mistake(
    overlays: Mapping[str, list[Manifest]], validate: Validate, mistake: str
) -> None:
    plant, words = REJECTED[mistake]
    for deployment in of_kind(copy.deepcopy(overlays["prod"]), "FlinkDeployment"):
        plant(deployment)
        assert words in validate(deployment)
