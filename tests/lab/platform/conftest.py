"""Fixtures for the checks of k8s/: built manifests, schemas, images and a control plane."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.platform.applied import Applied, applied_to, cluster_in
from tests.lab.platform.control_plane import Cluster
from tests.lab.platform.k8s_manifests import (
    BIN,
    COMPONENTS,
    K8S,
    OVERLAYS,
    Manifest,
    build,
    with_components,
    write_schemas,
)
from tests.lab.platform.unpacked import IMAGES, Image, unpack

if not (BIN / "kustomize").exists() and "CI" not in os.environ:
    # These tests need Kustomize; `make setup-platform` prints why it is missing. In CI they then fail.
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def overlays() -> Mapping[str, list[Manifest]]:
    """Return the manifests that Kustomize builds from each overlay."""
    return {name: build(K8S / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session")
def schemas(overlays: Mapping[str, list[Manifest]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the schemas for kubeconform."""
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder, {item["kind"] for manifests in overlays.values() for item in manifests})
    return folder


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> Image:
    """Return each built image in turn, unpacked."""
    return unpack(request.param)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Yield a running control plane, for ``make cluster-check``."""
    with cluster_in(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Return the manifests of production with every optional component."""
    return with_components(tmp_path_factory.mktemp("everything"), "prod", *COMPONENTS)


@pytest.fixture(scope="session", params=[*OVERLAYS, "everything"])
def applied(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    overlays: Mapping[str, list[Manifest]],
    everything: list[Manifest],
) -> Iterator[Applied]:
    """Yield each overlay in turn, and production with every optional component, applied to the control plane."""
    manifests = dict(overlays) | {"everything": everything}
    with applied_to(cluster, request.param, manifests[request.param]) as overlay:
        yield overlay
