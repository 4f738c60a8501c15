"""The optional user interface of Kafka: it asks for a login and can only read. The program itself was not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.platform.argo_waves import stuck, wave
from tests.lab.platform.k8s_manifests import REPO, Manifest, kubeconform, of_kind, with_components
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import matches, pods

NAME = "streamflow-kafka-ui"
READING = {"Read", "Describe", "DescribeConfigs"}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_components(tmp_path_factory.mktemp("kafka-ui"), "prod", "kafka-ui")


def _named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(item for item in of_kind(manifests, kind) if item["metadata"]["name"] == name)


def _configuration(manifests: list[Manifest]) -> dict[str, Any]:
    """Return the configuration as External Secrets writes it, with passwords of letters and digits."""
    secret = _named(manifests, "ExternalSecret", "kafka-ui-login")
    text = secret["spec"]["target"]["template"]["data"]["application.yml"]
    made: dict[str, Any] = yaml.safe_load(text.replace("{{ .person }}", "a1").replace("{{ .broker }}", "b2"))
    return made


def test_the_manifests_are_valid_and_in_order(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == complaints(manifests) == stuck(manifests) == []
    secret = _named(manifests, "ExternalSecret", "kafka-ui-login")
    assert wave(secret) < wave(_named(manifests, "KafkaUser", NAME))


def test_a_user_without_its_password_is_found(manifests: list[Manifest]) -> None:
    secret = _named(manifests, "ExternalSecret", "kafka-ui-login")
    broken = [item for item in manifests if item is not secret]
    assert f"KafkaUser/{NAME} needs Secret/kafka-ui-login, which nothing creates" in stuck(broken)


def test_the_broker_lets_it_read_only(manifests: list[Manifest]) -> None:
    user = _named(manifests, "KafkaUser", NAME)["spec"]
    assert {operation for acl in user["authorization"]["acls"] for operation in acl["operations"]} == READING
    assert user["authentication"]["password"]["valueFrom"]["secretKeyRef"] == {
        "name": "kafka-ui-login",
        "key": "broker",
    }
    (cluster,) = _configuration(manifests)["kafka"]["clusters"]
    assert cluster["readOnly"] is True
    properties = cluster["properties"]
    assert properties["security.protocol"] == "SASL_SSL"
    assert properties["sasl.jaas.config"].endswith(f'username="{NAME}" password="b2";')


def test_it_asks_for_a_login_and_reads_its_configuration_from_the_secret(manifests: list[Manifest]) -> None:
    made = _configuration(manifests)
    assert made["auth"] == {"type": "LOGIN_FORM"}
    assert made["spring"]["security"]["user"] == {"name": "operator", "password": "a1"}
    pod = pods(manifests)[f"Deployment/{NAME}"]["spec"]
    mounts = {item["name"]: item["mountPath"] for item in pod["containers"][0]["volumeMounts"]}
    files = {
        f"{mounts[volume['name']]}/{item['path']}"
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source["secret"]["items"]
    }
    variables = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    truststore = made["kafka"]["clusters"][0]["properties"]["ssl.truststore.location"]
    assert files == {variables["SPRING_CONFIG_ADDITIONAL_LOCATION"].removeprefix("file:"), truststore}


def test_no_pod_may_connect_to_it(manifests: list[Manifest]) -> None:
    labels = pods(manifests)[f"Deployment/{NAME}"]["metadata"]["labels"]
    admitting = [
        item["metadata"]["name"]
        for item in of_kind(manifests, "NetworkPolicy")
        if matches(item["spec"]["podSelector"], labels) and item["spec"].get("ingress")
    ]
    assert admitting == []


def test_the_one_of_compose_starts_on_request_and_asks_for_a_login() -> None:
    service = yaml.safe_load((REPO / "compose.yaml").read_text())["services"]["kafka-ui"]
    assert service["profiles"] == ["kafka-ui"]
    environment = service["environment"]
    assert (environment["AUTH_TYPE"], environment["KAFKA_CLUSTERS_0_READONLY"]) == ("LOGIN_FORM", "true")
    # Without a password of its own it takes one that compose requires, never an empty one.
    assert environment["SPRING_SECURITY_USER_PASSWORD"].endswith(":-${STREAMFLOW_POSTGRES_PASSWORD}}")
