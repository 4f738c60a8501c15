"""The worker on cases and the optional component of the webhooks' secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from api.cases.webhooks import secret_of
from flink_jobs.settings import SECRETS_DIR
from tests.lab.platform.argo_waves import stuck
from tests.lab.platform.k8s_manifests import OVERLAYS, Manifest, kubeconform, of_kind, with_components
from tests.lab.platform.manifest_policies import complaints
from tests.lab.platform.pods import matches, pods

WORKER, API = "Deployment/streamflow-case-worker", "Deployment/streamflow-api"


def _is_working(manifests: list[Manifest], name: str) -> str:
    variables = pods(manifests)[name]["spec"]["containers"][0]["env"]
    return next(str(item["value"]) for item in variables if item["name"] == "STREAMFLOW_API_CASE_WORK")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_worker_sends_the_outbox_and_the_replicas_of_the_api_do_not(
    overlays: Mapping[str, list[Manifest]], overlay: str
) -> None:
    assert (_is_working(overlays[overlay], WORKER), _is_working(overlays[overlay], API)) == ("true", "false")


def test_only_the_worker_reaches_receivers_of_webhooks(overlays: Mapping[str, list[Manifest]]) -> None:
    policy = next(
        item for item in of_kind(overlays["prod"], "NetworkPolicy") if item["metadata"]["name"] == "webhook-receivers"
    )
    selected = {
        name
        for name, pod in pods(overlays["prod"]).items()
        if matches(policy["spec"]["podSelector"], pod["metadata"]["labels"])
    }
    assert selected == {WORKER}
    (to,) = policy["spec"]["egress"][0]["to"]
    assert to["ipBlock"]["except"] == ["169.254.0.0/16"], "the node's credentials are not reachable"


def test_the_component_creates_the_secret_that_the_worker_mounts(
    schemas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = with_components(tmp_path, "prod", "webhooks")
    assert kubeconform(manifests, schemas) == complaints(manifests) == stuck(manifests) == []
    made = next(item for item in of_kind(manifests, "ExternalSecret") if item["metadata"]["name"] == "webhook-secrets")
    (source,) = made["spec"]["dataFrom"]
    assert source["extract"]["key"] == "streamflow-prod/webhooks"
    volumes = pods(manifests)[WORKER]["spec"]["volumes"]
    assert {"secret": {"name": "webhook-secrets", "optional": True}} in [
        item for volume in volumes for item in volume.get("projected", {}).get("sources", ())
    ]
    # The rewritten key is the file that the sender reads for a secret of this name.
    (rewrite,) = source["rewrite"]
    file = rewrite["regexp"]["target"].replace("$1", "desk")
    (tmp_path / file).write_text("signing key")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    assert secret_of("desk") == b"signing key"
