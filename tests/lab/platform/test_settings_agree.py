"""Manifests and code agree: settings, secret files, programs, topics and permissions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import PREFIX, ApiSettings
from flink_jobs.contracts import strimzi
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.contracts.uids import MAX_PARALLELISM
from flink_jobs.errors import UserError
from flink_jobs.flink.jobs import JOBS
from flink_jobs.local import checkout
from flink_jobs.settings import ENV_PREFIX, SECRETS_DIR, Settings, kafka_account, load_settings
from tests.lab.platform.k8s_manifests import OVERLAYS, REPO, Manifest, of_kind
from tests.lab.platform.pods import FLINK_CONTAINER, pods

Overlays = Mapping[str, list[Manifest]]
IN_IMAGE = "/opt/streamflow/"
KNOWN = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {SECRETS_DIR, "STREAMFLOW_CORE"}
KNOWN |= {f"{PREFIX}{name.upper()}" for name in ApiSettings.model_fields}
WITHOUT_KAFKA = {"Job/streamflow-migrate", "Deployment/streamflow-marts-exporter"}
SECRETS, KAFKA = Path("/run/secrets/streamflow"), Path("/run/secrets/kafka")


def _variables(manifests: list[Manifest], container: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of a container."""
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(manifests, "ConfigMap")}
    read = {k: v for source in container.get("envFrom", ()) for k, v in maps[source["configMapRef"]["name"]].items()}
    return read | {item["name"]: item["value"] for item in container.get("env", ()) if "value" in item}


def _ours(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, pod in pods(manifests).items():
        for container in pod["spec"]["containers"]:
            if any(
                source.get("configMapRef", {}).get("name", "").startswith("streamflow")
                for source in container["envFrom"]
            ):
                yield name, pod, container


def _files(pod: dict[str, Any], container: dict[str, Any]) -> set[Path]:
    """Return the paths of the mounted secret files."""
    mounts = {item["name"]: Path(item["mountPath"]) for item in container["volumeMounts"]}
    return {
        mounts[volume["name"]] / item["path"]
        for volume in pod["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source["secret"].get("items", ())
    }


def _deployment(manifests: list[Manifest], job: str) -> dict[str, Any]:
    found = [item for item in of_kind(manifests, "FlinkDeployment") if item["metadata"]["name"] == f"streamflow-{job}"]
    spec: dict[str, Any] = found[0]["spec"]
    return spec


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(overlays: Overlays, overlay: str) -> None:
    seen = set()
    for name, _, container in _ours(overlays[overlay]):
        named = {key for key in _variables(overlays[overlay], container) if key.startswith(ENV_PREFIX)}
        assert named <= KNOWN, f"{name}: {sorted(named - KNOWN)}"
        seen |= named
    assert f"{ENV_PREFIX}KAFKA_BOOTSTRAP_SERVERS" in seen


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_load_in_every_container(
    overlays: Overlays, overlay: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, (name, pod, container) in enumerate(_ours(overlays[overlay])):
        secrets = tmp_path / str(number)
        secrets.mkdir()
        for path in _files(pod, container):
            if path.parent == SECRETS and path.suffix != ".crt":
                assert path.name in {f"streamflow_{field}" for field in Settings.model_fields} | {"airflow"}, name
                (secrets / path.name).write_text("secret")
        with monkeypatch.context() as patch:
            for key, value in _variables(overlays[overlay], container).items():
                patch.setenv(key, str(secrets) if key == SECRETS_DIR else value)
            settings = load_settings(tmp_path)
            assert settings.postgres_ca_file in _files(pod, container), name
            assert (settings.kafka_ca_file in _files(pod, container)) is (name not in WITHOUT_KAFKA), name
            assert settings.postgres_ssl_mode == "verify-full"
            if settings.postgres_password.get_secret_value():
                patch.delenv(SECRETS_DIR)
                with pytest.raises(UserError, match="POSTGRES_PASSWORD"):
                    load_settings(tmp_path)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_its_own_credentials_only(overlays: Overlays, job: str) -> None:
    for name, pod, container in _ours(overlays["prod"]):
        if name.startswith(f"FlinkDeployment/streamflow-{job}/"):
            kafka = {path.name for path in _files(pod, container) if path.parent == KAFKA}
            assert kafka == {"ca.crt", kafka_account("detect" if job == "detect" else "archive")}
            database = {path.name for path in _files(pod, container) if path.parent == SECRETS}
            assert ("streamflow_postgres_password" in database) is (job == "archive")


@pytest.mark.parametrize("job", JOBS)
def test_the_script_is_in_the_image_and_starts_in_application_mode(overlays: Overlays, job: str) -> None:
    start = _deployment(overlays["prod"], job)["job"]
    assert start["entryClass"] == "org.apache.flink.client.python.PythonDriver"
    script = start["args"][start["args"].index("-py") + 1]
    assert script == f"{IN_IMAGE}{JOBS[job]}"
    assert (REPO / JOBS[job]).exists()
    jar = start["jarURI"].rpartition("/")[2]
    assert (checkout.FLINK_HOME / "opt" / jar).exists(), "the jar of the locked Flink release"


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("job", JOBS)
def test_flink_and_the_job_use_the_same_state_folders(overlays: Overlays, overlay: str, job: str) -> None:
    spec, manifests = _deployment(overlays[overlay], job), overlays[overlay]
    flink = spec["flinkConfiguration"]
    container = pods(manifests)[f"FlinkDeployment/streamflow-{job}/taskmanager"]["spec"]["containers"][0]
    assert container["name"] == FLINK_CONTAINER
    variables = _variables(manifests, container)
    assert flink["execution.checkpointing.dir"] == variables["STREAMFLOW_CHECKPOINT_DIR"]
    assert flink["execution.checkpointing.savepoint-dir"] == variables["STREAMFLOW_SAVEPOINT_DIR"]
    assert flink["pipeline.max-parallelism"] == str(MAX_PARALLELISM)
    assert flink["taskmanager.numberOfTaskSlots"] == "1"
    assert job in flink["high-availability.storageDir"]
    for key in ("rocksdb.localdir",):
        local = Path(flink[f"state.backend.{key}"])
        assert any(local.is_relative_to(mount["mountPath"]) for mount in container["volumeMounts"])


def test_the_jvm_has_the_flags_of_flinks_distribution(overlays: Overlays) -> None:
    shipped = yaml.safe_load((checkout.FLINK_HOME / "conf" / "config.yaml").read_text())["env"]["java"]["opts"]["all"]
    for job in JOBS:
        flags = _deployment(overlays["prod"], job)["flinkConfiguration"]["env.java.opts.all"].split()
        assert flags == [*shipped.split(), "-Duser.timezone=UTC"]


def test_no_two_jobs_share_a_folder(overlays: Overlays) -> None:
    keys = ("high-availability.storageDir", "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir")
    folders = [_deployment(overlays["prod"], job)["flinkConfiguration"][key] for job in JOBS for key in keys]
    assert len(set(folders)) == len(keys) * len(JOBS)


def test_topics_and_permissions_are_those_of_the_contracts() -> None:
    for path, text in strimzi.files().items():
        assert path.read_text() == text, "run `python -m flink_jobs.contracts.strimzi --write`"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_may_only_add_partitions_to_a_topic(overlays: Overlays, overlay: str) -> None:
    contracts = {item.name: item for item in load_contracts().values()}
    found = {item["metadata"]["name"]: item["spec"] for item in of_kind(overlays[overlay], "KafkaTopic")}
    assert set(found) == set(contracts)
    for name, spec in found.items():
        assert spec["config"] == dict(contracts[name].config)
        assert spec["partitions"] >= contracts[name].partitions
        if contracts[name].partitions == 1:
            assert spec["partitions"] == 1, f"{name} must keep one partition, because its order matters"


def test_production_has_no_account_for_test_traffic(overlays: Overlays) -> None:
    names = {name: {item["metadata"]["name"] for item in of_kind(overlays[name], "KafkaUser")} for name in OVERLAYS}
    assert strimzi.TEST_TRAFFIC in names["staging"]
    assert strimzi.TEST_TRAFFIC not in names["prod"]


def test_the_broker_allows_our_transaction_timeout(overlays: Overlays) -> None:
    broker = of_kind(overlays["prod"], "Kafka")[0]["spec"]["kafka"]["config"]
    assert Settings.model_fields["transaction_timeout_ms"].default <= broker["transaction.max.timeout.ms"]


def test_every_mounted_secret_is_created(overlays: Overlays) -> None:
    manifests = overlays["prod"]
    made = {item["metadata"]["name"] for kind in ("ExternalSecret", "KafkaUser") for item in of_kind(manifests, kind)}
    made |= {f"{item['metadata']['name']}-cluster-ca-cert" for item in of_kind(manifests, "Kafka")}
    mounted = {
        source["secret"]["name"]
        for _, pod, _ in _ours(manifests)
        for volume in pod["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if not source["secret"].get("optional")
    }
    assert mounted
    assert mounted <= made
