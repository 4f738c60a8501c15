"""Built manifests and schemas, made once for all tests of k8s/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.platform.manifests import K8S, OVERLAYS, Manifest, build, write_schemas


@pytest.fixture(scope="session")
def overlays() -> Mapping[str, list[Manifest]]:
    """What Kustomize makes of each overlay."""
    return {name: build(K8S / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session")
def schemas(overlays: Mapping[str, list[Manifest]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the schemas that kubeconform compares with."""
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder, {item["kind"] for item in overlays["prod"]})
    return folder
