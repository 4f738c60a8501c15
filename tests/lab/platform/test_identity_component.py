"""The optional component with the API's settings of OIDC, signed tokens and Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings import load_api_settings
from flink_jobs.settings import SECRETS_DIR
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import Manifest, kubeconform, of_kind, with_components
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import matches, pods

API = "Deployment/streamflow-api"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_components(tmp_path_factory.mktemp("identity"), "prod", "identity")


def test_the_manifests_are_valid_and_in_order(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == complaints(manifests) == stuck(manifests) == []


def test_the_api_mounts_the_secret_and_reads_its_files(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = next(item for item in of_kind(manifests, "ExternalSecret") if item["metadata"]["name"] == "api-identity")
    assert made["spec"]["dataFrom"] == [{"extract": {"key": "streamflow-prod/api-identity"}}]
    sources = [
        item
        for volume in pods(manifests)[API]["spec"]["volumes"]
        for item in volume.get("projected", {}).get("sources", ())
    ]
    assert {"secret": {"name": "api-identity", "optional": True}} in sources
    (tmp_path / "streamflow_api_redis_url").write_text("rediss://:secret@redis.example:6379/0")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    url = load_api_settings(tmp_path).redis_url
    assert url is not None
    assert url.get_secret_value() == "rediss://:secret@redis.example:6379/0"


def test_only_the_api_reaches_redis(manifests: list[Manifest]) -> None:
    policy = next(item for item in of_kind(manifests, "NetworkPolicy") if item["metadata"]["name"] == "redis-clients")
    selector = policy["spec"]["podSelector"]
    assert [name for name, pod in pods(manifests).items() if matches(selector, pod["metadata"]["labels"])] == [API]
