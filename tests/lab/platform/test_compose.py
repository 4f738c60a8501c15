"""compose.yaml, checked against the schema of the compose specification, the images and the code."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from api.settings import ApiSettings
from flink_jobs.cli.app import COMMANDS
from flink_jobs.flink.jobs import JOBS
from flink_jobs.settings import ENV_PREFIX, Settings, load_settings
from tests.lab.platform.k8s_manifests import REPO

SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((REPO / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def _problems(document: object) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(document)]


def test_compose_file_fits_the_specification() -> None:
    assert _problems(COMPOSE) == []


MISTAKES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a misspelt key": lambda services: services["detect"].update(depend_on=["kafka"]),
    "an unknown condition": lambda services: services["detect"]["depends_on"]["migrate"].update(condition="done"),
    "ports as a number": lambda services: services["grafana"].update(ports=3000),
    "a service that is a list": lambda services: services.update(kafka=["apache/kafka"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_does_not_fit(mistake: str) -> None:
    document = copy.deepcopy(COMPOSE)
    MISTAKES[mistake](document["services"])
    assert _problems(document)


def test_our_images_are_built_from_existing_dockerfiles() -> None:
    built = {name: service for name, service in SERVICES.items() if "build" in service}
    assert {"detect", "archive", "migrate", "traffic"} <= set(built)
    for name, service in built.items():
        path = REPO / service["build"]["dockerfile"]
        assert path.exists(), name
        assert service["image"] == f"streamflow/{path.name.partition('.')[0]}"
    for name, service in SERVICES.items():
        assert "build" in service or service["image"].partition(":")[2] not in {"", "latest"}, f"{name} has no version"


def test_every_variable_is_a_setting_and_settings_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | set(ApiSettings().masked())
    values = COMPOSE["x-settings"]
    assert set(values) <= known
    for key, value in values.items():
        monkeypatch.setenv(key, value.partition("${")[0] or "from outside")
    assert load_settings(tmp_path).kafka_bootstrap_servers == "kafka:9092"
    for name, service in SERVICES.items():
        ours = {key for key in service.get("environment", {}) if key.startswith(ENV_PREFIX)}
        assert ours <= known, name


def test_commands_and_scripts_exist() -> None:
    for name, service in SERVICES.items():
        command = service.get("command", [])
        if service["image"] == "streamflow/tools":
            assert command[0] in COMMANDS, name
        if service["image"] == "streamflow/job" and command[0] == "job":
            assert command[1].removeprefix("/opt/streamflow/") in JOBS.values(), name


def test_dependencies_and_mounts_exist() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (REPO / source).exists() if source.startswith("./") else source in COMPOSE["volumes"], (
                f"{name}: {source}"
            )


def test_no_port_is_open_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_scrapes_existing_services() -> None:
    config = yaml.safe_load((REPO / "k8s" / "compose" / "prometheus.yaml").read_text())
    targets = [t for job in config["scrape_configs"] for part in job["static_configs"] for t in part["targets"]]
    assert targets
    for target in targets:
        host, _, port = target.partition(":")
        command = " ".join(SERVICES[host]["command"])
        assert port in command, f"the command of {host} does not serve metrics on {port}"
