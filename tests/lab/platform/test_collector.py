"""k8s/collector as Kustomize builds it; ``make collector-check`` runs the same configuration in a real collector."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from flink_jobs.logs import CONTEXT, JsonFormatter
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.collector import CONFIG, CONFIG_FILE, HEALTH_PORT, METRICS_PORT
from tests.lab.platform.k8s_manifests import (
    K8S,
    REPO,
    Manifest,
    add_component,
    build,
    kubeconform,
    of_kind,
    write_schemas,
)
from tests.lab.platform.manifest_policies import bounded, complaints, fenced, mounted, no_secrets, pinned, probed
from tests.lab.platform.pods import matches, pods

TRACES_PORT = 4318
SENDERS = {
    "Deployment/streamflow-api",
    *(
        f"FlinkDeployment/streamflow-{job}/{part}"
        for job in ("detect", "archive")
        for part in ("jobmanager", "taskmanager")
    ),
}


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return build(K8S / "collector")


def _container(manifests: list[Manifest]) -> dict[str, Any]:
    (container,) = of_kind(manifests, "DaemonSet")[0]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_the_manifests_fit_their_definitions_and_our_policies(manifests: list[Manifest], tmp_path: Path) -> None:
    write_schemas(tmp_path, {item["kind"] for item in manifests})
    assert kubeconform(manifests, tmp_path) == []
    found = [text for policy in (pinned, no_secrets, probed, mounted) for text in policy(manifests)]
    assert found == []
    # It reads folders of the node, and its only namespaces' policies are its own two.
    assert sorted(text.partition(": ")[2] for text in bounded(manifests)) == [
        "volume pods is a folder of the node", "volume storage is a folder of the node",
    ]  # fmt: skip
    assert [text for text in fenced(manifests) if "expected at least" not in text] == []


def test_the_pod_has_no_rights_but_to_read_the_log_files(manifests: list[Manifest]) -> None:
    pod = of_kind(manifests, "DaemonSet")[0]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    security = _container(manifests)["securityContext"]
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert security["capabilities"] == {"drop": ["ALL"]}
    mounts = {item["name"]: item for item in _container(manifests)["volumeMounts"]}
    assert {name for name, item in mounts.items() if not item.get("readOnly")} == {"storage"}


def test_the_configuration_is_the_one_that_the_check_runs(manifests: list[Manifest]) -> None:
    (made,) = of_kind(manifests, "ConfigMap")
    assert made["data"] == {"config.yaml": CONFIG_FILE.read_text()}
    assert faults(CONFIG, _container(manifests)) == []


def faults(config: dict[str, Any], container: dict[str, Any]) -> list[str]:
    """Return what of the configuration does not fit itself or the container."""
    found = []
    pipelines = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline[kind]}
        found += [f"{kind}: {name}" for name in used ^ set(config[kind])]
    found += [f"extensions: {name}" for name in set(config["service"]["extensions"]) ^ set(config["extensions"])]
    variables = {item["name"] for item in container["env"]}
    text = yaml.safe_dump(config)
    named = {part.partition("}")[0] for part in text.split("${env:")[1:]}
    found += [f"variable: {name}" for name in named ^ variables]
    ports = {item["containerPort"] for item in container["ports"]}
    listened = {HEALTH_PORT, METRICS_PORT, TRACES_PORT}
    found += [f"port: {port}" for port in ports ^ listened]
    found += [
        f"port {port} is not in the configuration" for port in (HEALTH_PORT, METRICS_PORT) if str(port) not in text
    ]
    address = {item["name"]: item.get("value") for item in container["env"]}
    if address.get("TRACES_ADDRESS") != f"0.0.0.0:{TRACES_PORT}":
        found.append("traces: another address")
    mounts = {item["mountPath"] for item in container["volumeMounts"]}
    found += [f"folder: {address[name]}" for name in ("PODS_FOLDER", "STORAGE_FOLDER") if address[name] not in mounts]
    return found


MISTAKES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "an exporter that no pipeline uses": lambda config, _: config["exporters"].update(debug={}),
    "an extension that is not started": lambda config, _: config["service"]["extensions"].remove("file_storage"),
    "a variable that the pod does not have": lambda _, container: container["env"].pop(),
    "a folder that is not mounted": lambda _, container: container["volumeMounts"].pop(),
    "another port for health": lambda config, _: config["extensions"]["health_check"].update(endpoint="0.0.0.0:1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(manifests: list[Manifest], mistake: str) -> None:
    config, container = copy.deepcopy(CONFIG), copy.deepcopy(_container(manifests))
    MISTAKES[mistake](config, container)
    assert faults(config, container)


def test_the_fields_that_the_collector_reads_are_those_of_a_line() -> None:
    token = CONTEXT.set({"request_id": "r", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    line = JsonFormatter("api").format(logging.LogRecord("api", logging.INFO, "x.py", 1, "text", None, None))
    CONTEXT.reset(token)
    document = orjson.loads(line)
    parsers = {item["id"]: item for item in CONFIG["receivers"]["file_log"]["operators"]}
    places = [parsers["line"][part]["parse_from"] for part in ("timestamp", "severity")]
    places.append(parsers["trace"]["trace_id"]["parse_from"])
    assert {place.removeprefix("attributes.") for place in places} <= document.keys()
    assert datetime.fromisoformat(document["timestamp"]).utcoffset() is not None
    assert "\n" not in line


def test_the_deployed_release_is_the_one_that_the_check_builds(manifests: list[Manifest]) -> None:
    version = _container(manifests)["image"].rpartition(":")[2]
    modules = (REPO / "tests/lab/platform/otelcol/go.mod").read_text()
    assert f"go.opentelemetry.io/collector/otelcol v{version}\n" in modules


def test_api_and_jobs_reach_the_collector_and_nothing_else_does(
    manifests: list[Manifest], schemas: Path, tmp_path: Path
) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    add_component(tmp_path / "k8s/overlays/prod", "traces")
    made = build(tmp_path / "k8s/overlays/prod")
    assert kubeconform(made, schemas) == complaints(made) == stuck(made) == []
    labels = of_kind(manifests, "DaemonSet")[0]["spec"]["template"]["metadata"]["labels"]
    senders = set()
    for policy in of_kind(made, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            if {"port": TRACES_PORT, "protocol": "TCP"} in rule.get("ports", ()):
                (place,) = rule["to"]
                assert matches(place["podSelector"], labels)
                assert place["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
                senders |= {
                    name for name, pod in pods(made).items()
                    if matches(policy["spec"]["podSelector"], pod["metadata"]["labels"])
                }  # fmt: skip
    assert senders == SENDERS
    (settings,) = {
        item["data"].get("STREAMFLOW_TRACES_ENDPOINT") for item in of_kind(made, "ConfigMap")
        if item["metadata"]["name"].startswith("streamflow-settings")
    }  # fmt: skip
    service = of_kind(manifests, "Service")[0]
    assert settings == f"http://{service['metadata']['name']}.observability.svc:{service['spec']['ports'][0]['port']}"
    assert matches({"matchLabels": service["spec"]["selector"]}, labels)
