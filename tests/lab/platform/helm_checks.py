"""The Helm chart with real Helm: equal to the overlay, object by object. ``make helm-check`` runs this file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.platform.helm_chart import OVERLAY, SIZES, without_hooks, write_chart
from tests.lab.platform.k8s_manifests import K8S, Manifest, build, kubeconform, name_of, tool, write_schemas

LARGEST_RELEASE = 1_000_000
"""Bytes of a Secret, in which Helm stores a release, compressed."""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chart") / "streamflow"
    write_chart(folder)
    return folder


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *arguments], capture_output=True, text=True, check=False)


def rendered(chart: Path, *options: str) -> dict[str, Manifest]:
    made = helm("template", "streamflow", str(chart), "--namespace", "streamflow", "--kube-version", "1.34.0", *options)
    assert made.returncode == 0, made.stderr
    found = [without_hooks(item) for item in yaml.load_all(made.stdout, yaml.CSafeLoader) if item]
    assert len({name_of(item) for item in found}) == len(found)
    return {name_of(item): item for item in found}


def test_helm_lint_finds_nothing(chart: Path) -> None:
    done = helm("lint", "--strict", str(chart))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


def test_the_chart_equals_the_overlay_object_by_object(chart: Path) -> None:
    found = rendered(chart)
    expected = {name_of(item): without_hooks(item) for item in build(K8S / "overlays" / OVERLAY)}
    assert len(expected) > 80
    assert found.keys() == expected.keys()
    different = {name for name in expected if found[name] != expected[name]}
    assert different == set()


def test_values_change_images_sizes_storage_and_the_platform(chart: Path, tmp_path: Path, schemas: Path) -> None:
    chosen: dict[str, Any] = {
        "images": {"job": "registry.example/job:1", "tools": "registry.example/tools:1"},
        "platform": {"STATE_BUCKET": "bank-state", "POSTGRES_HOST": "db.bank.example"},
        "detect": {"parallelism": 6, "taskManager": {"cpu": 3, "memory": "8g"}},
        "kafka": {"storage": "5Ti", "storageClass": "fast"},
        "secretStore": {"name": "vault"},
        "ingress": {"enabled": True, "host": "api.bank.example", "className": "nginx"},
    }
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(chosen))
    found = rendered(chart, "--values", str(path))
    write_schemas(schemas, {item["kind"] for item in found.values()})
    assert kubeconform(list(found.values()), schemas) == []
    text = json.dumps(list(found.values()))
    assert "streamflow-prod-state" not in text
    assert "s3://bank-state/detect/checkpoints" in text
    assert "MARK" not in text
    assert ".KRAM" not in text.upper()
    detect = found["FlinkDeployment/streamflow-detect"]["spec"]
    assert (detect["image"], detect["job"]["parallelism"]) == ("registry.example/job:1", 6)
    assert detect["taskManager"]["resource"] == {"cpu": 3, "memory": "8g"}
    volume = found["KafkaNodePool/broker"]["spec"]["storage"]["volumes"][0]
    assert (volume["size"], volume["class"]) == ("5Ti", "fast")
    stores = {
        item["spec"]["secretStoreRef"]["name"]
        for item in found.values()
        if item["kind"] == "ExternalSecret" and "secretStoreRef" in item["spec"]
    }
    assert stores == {"vault"}
    assert "SecretStore/vault" in found
    backend = found["Ingress/streamflow-api"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    ports = {port["name"] for port in found["Service/streamflow-api"]["spec"]["ports"]}
    assert backend["port"]["name"] in ports


def test_an_ingress_without_a_host_is_refused(chart: Path) -> None:
    made = helm("template", "streamflow", str(chart), "--set", "ingress.enabled=true", "--kube-version", "1.34.0")
    assert made.returncode != 0
    assert "ingress.host is needed" in made.stderr


def test_every_size_is_a_value_with_a_default(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for name in SIZES:
        part = values
        for step in name.split("."):
            part = part[step]
        assert part not in {None, ""}, name


def test_the_migration_runs_before_each_upgrade(chart: Path) -> None:
    job = (chart / "templates" / "job.yaml").read_text()
    assert "helm.sh/hook: post-install,pre-upgrade" in job


def test_a_release_fits_into_a_secret(chart: Path, tmp_path: Path) -> None:
    done = helm("package", str(chart), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.tgz")
    assert package.stat().st_size < LARGEST_RELEASE / 4
