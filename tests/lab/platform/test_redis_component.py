"""The optional component with a Redis for the API's rates, and a real Redis with its configuration."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from api.settings import load_api_settings
from flink_jobs.local import redis
from flink_jobs.local.certificates import REDIS, Certificates
from flink_jobs.local.ports import free_ports
from flink_jobs.settings import SECRETS_DIR
from flink_jobs.waiting import wait_for
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import K8S, Manifest, build, kubeconform, of_kind
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import matches, pods

SERVER, API = "Deployment/streamflow-redis", "Deployment/streamflow-api"
PROGRAM = redis.find()


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    folder = tmp_path_factory.mktemp("redis")
    shutil.copytree(K8S, folder / "k8s")
    path, platform = folder / "k8s/overlays/prod/kustomization.yaml", "  - ../../components/platform\n"
    path.write_text(path.read_text().replace(platform, f"  - ../../components/redis\n{platform}"))
    return build(path.parent)


def of_name(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(item for item in of_kind(manifests, kind) if item["metadata"]["name"] == name)


def login(manifests: list[Manifest]) -> dict[str, str]:
    """Return the files of the login with a password, as External Secrets makes them."""
    made = of_name(manifests, "ExternalSecret", "redis-login")["spec"]["target"]["template"]["data"]
    return {name: text.replace("{{ .password }}", "letters4and5digits") for name, text in made.items()}


def test_the_manifests_are_valid_and_in_order(manifests: list[Manifest], schemas: Path) -> None:
    assert kubeconform(manifests, schemas) == complaints(manifests) == stuck(manifests) == []
    certificate = of_name(manifests, "ExternalSecret", "redis-certificate")
    assert certificate["spec"]["dataFrom"] == [{"extract": {"key": "streamflow-prod/redis"}}]
    budget = of_name(manifests, "PodDisruptionBudget", "streamflow-redis")["spec"]
    assert matches(budget["selector"], pods(manifests)[SERVER]["metadata"]["labels"])


def test_the_api_reads_address_and_authority_from_its_secrets(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pods(manifests)[API]["spec"]
    (volume,) = (item for item in pod["volumes"] if item["name"] == "secrets")
    files = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"].get("items", ())
    }
    assert files["redis-ca.crt"] == ("redis-certificate", "ca.crt")
    assert files["streamflow_api_redis_url"] == ("redis-login", "url")
    (tmp_path / "streamflow_api_redis_url").write_text(login(manifests)["url"])
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    for variable in pod["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    own = load_api_settings(tmp_path)
    assert own.redis_url is not None
    service = of_name(manifests, "Service", "streamflow-redis")
    place = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert own.redis_url.get_secret_value() == f"rediss://:letters4and5digits@{place}/0"
    assert str(own.redis_ca_file) == "/run/secrets/streamflow/redis-ca.crt"


def test_only_the_api_reaches_redis_and_redis_reaches_nothing(manifests: list[Manifest]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests).items()}
    server = of_name(manifests, "NetworkPolicy", "redis-server")["spec"]
    assert [name for name in labels if matches(server["podSelector"], labels[name])] == [SERVER]
    (rule,) = server["ingress"]
    (source,) = rule["from"]
    assert [name for name in labels if matches(source["podSelector"], labels[name])] == [API]
    way = of_name(manifests, "NetworkPolicy", "redis-within")["spec"]
    assert [name for name in labels if matches(way["podSelector"], labels[name])] == [API]
    ways_out = [
        item["metadata"]["name"]
        for item in of_kind(manifests, "NetworkPolicy")
        if "egress" in item["spec"] and matches(item["spec"]["podSelector"], labels[SERVER])
    ]
    assert ways_out == ["dns"]


@pytest.mark.skipif(PROGRAM is None, reason="no redis-server: run `make setup`")
def test_a_real_redis_accepts_the_configuration_and_needs_tls_and_the_login(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    (configuration,) = (
        item for item in of_kind(manifests, "ConfigMap") if item["metadata"]["name"].startswith("streamflow-redis")
    )
    mounted = {
        item["name"]: item["mountPath"] for item in pods(manifests)[SERVER]["spec"]["containers"][0]["volumeMounts"]
    }
    (port,) = free_ports(1)
    certificates = Certificates(tmp_path / "made")
    certificates.ensure()
    for name in ("tls.crt", "tls.key"):
        shutil.copy(certificates.pair(REDIS), tmp_path / name)
    shutil.copy(certificates.authority, tmp_path / "ca.crt")
    (tmp_path / "login.conf").write_text(login(manifests)["login.conf"])
    text = configuration["data"]["redis.conf"].replace(mounted["secrets"], str(tmp_path)).replace("6379", str(port))
    (tmp_path / "redis.conf").write_text(text)
    url = login(manifests)["url"].replace("streamflow-redis:6379", f"localhost:{port}")
    server = subprocess.Popen([str(PROGRAM), str(tmp_path / "redis.conf")], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(url, certificates), limit_s=240, what="Redis")
        with pytest.raises(AuthenticationError):
            Redis.from_url(url.replace("letters", "wrong"), ssl_ca_certs=str(certificates.authority)).ping()
        with pytest.raises(RedisError):
            Redis.from_url(url.replace("rediss", "redis")).ping()
    finally:
        server.terminate()
        server.wait(30)
    assert not list(tmp_path.glob("*.rdb")), "nothing is written to a disk"


def answers(url: str, certificates: Certificates) -> bool:
    try:
        return bool(Redis.from_url(url, ssl_ca_certs=str(certificates.authority)).ping())
    except RedisError:
        return False
