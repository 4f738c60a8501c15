"""Overlays applied to a real API server, one after the other; each is deleted again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from flink_jobs.waiting import wait_for
from tests.lab.platform.api import Api, ApiResponse
from tests.lab.platform.control_plane import Cluster, control_plane
from tests.lab.platform.k8s_manifests import CRDS, Manifest, name_of, of_kind

NAMESPACE: Final = "streamflow"
LIMIT_S: Final = 120.0


@dataclass(frozen=True)
class Applied(Cluster):
    """An overlay on the server, with the response to each of its objects."""

    overlay: str
    manifests: list[Manifest]
    responses: list[tuple[Manifest, ApiResponse]]


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """Start a control plane with all custom resource definitions and the namespace of Argo CD."""
    with control_plane(folder) as cluster:
        definitions = [json.loads(path.read_text()) for path in sorted(CRDS.glob("*.json"))]
        for definition in definitions:
            _must(cluster.api.apply(definition), definition)
        for definition in definitions:
            _await(partial(_is_served, cluster.api, definition), f"{name_of(definition)} to be served")
        argocd = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}
        _must(cluster.api.apply(argocd), argocd)
        yield cluster


@contextmanager
def applied_to(cluster: Cluster, overlay: str, manifests: list[Manifest]) -> Iterator[Applied]:
    """Apply the manifests of an overlay in Kustomize's order; delete them at the end of the block."""
    responses = [(item, cluster.api.apply(item)) for item in manifests]
    try:
        for quota in of_kind(manifests, "ResourceQuota"):  # a quota is enforced once its controller has counted it
            _await(partial(_is_counted, cluster.api, quota), f"{name_of(quota)} to be counted")
        yield Applied(cluster.api, cluster.kubeconfig, overlay, manifests, responses)
    finally:
        outside = [item for item in manifests if "namespace" not in item["metadata"]]
        for item in outside:
            cluster.api.delete(item)
        for item in outside:
            _await(partial(_is_gone, cluster.api, item), f"{name_of(item)} to be deleted")


def _await(probe: Callable[[], bool], what: str) -> None:
    wait_for(probe, limit_s=LIMIT_S, what=what)


def _status(api: Api, manifest: Manifest) -> Mapping[str, Any]:
    status: Mapping[str, Any] = api.get(manifest).body.get("status", {})
    return status


def _is_served(api: Api, definition: Manifest) -> bool:
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    return api.call("GET", path).code == HTTPStatus.OK


def _is_counted(api: Api, quota: Manifest) -> bool:
    return "hard" in _status(api, quota)


def _is_gone(api: Api, manifest: Manifest) -> bool:
    return api.get(manifest).code == HTTPStatus.NOT_FOUND


def _must(response: ApiResponse, manifest: Manifest) -> None:
    if response.error:
        raise RuntimeError(f"{name_of(manifest)}: {response.error}")
