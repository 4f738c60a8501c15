"""A release from build to rollback: the steps of the upgrade workflow in a real git repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.platform.k8s_manifests import OVERLAYS, REPO
from tests.lab.platform.release_rig import IMAGES, STEPS, Release, git, registry

AIRFLOW = "k8s/airflow/values.yaml"


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return a repository whose staging and prod run release a, and whose release b is built."""
    made = Release(tmp_path_factory.mktemp("release"))
    made.build("a")
    assert made.upgrade("staging") == made.upgrade("prod") == []
    made.build("b")
    return made


@pytest.fixture
def release(first_release: Release, tmp_path: Path) -> Release:
    """Return an own copy of the repository."""
    return first_release.copy(tmp_path / "copy")


def _images(release: Release, environment: str) -> set[str]:
    """Return the images that Argo CD deploys from the environment's branch, with their digests."""
    overlay = yaml.safe_load(release.content(environment, f"k8s/overlays/{environment}/kustomization.yaml"))
    values = yaml.safe_load(release.content(environment, AIRFLOW))
    images = {f"{item['newName']}@{item['digest']}" for item in overlay["images"]}
    return images | {f"{values['defaultAirflowRepository']}@{values['defaultAirflowDigest']}"}


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_every_deployed_image_is_in_the_registry_of_its_environment(release: Release, environment: str) -> None:
    found = _images(release, environment)
    assert found == {f"{registry(environment)}/{image}@sha256:{'a' * 64}" for image in IMAGES}
    assert [image for image in found if not release.has(image)] == []


@pytest.mark.parametrize("failing", ["promote", "savepoint"])
def test_a_release_that_fails_before_its_push_changes_nothing(release: Release, failing: str) -> None:
    before = release.head("prod")
    if failing == "promote":
        (release.clone / "digests" / "job").write_text(f"sha256:{'c' * 64}\n")  # not in the registry
    assert release.upgrade("prod", failing) == [failing]
    assert release.head("prod") == before


@pytest.mark.parametrize("failing", ["wait", "smoke", "objectives"])
def test_a_release_that_fails_after_its_push_is_rolled_back_once(release: Release, failing: str) -> None:
    assert release.upgrade("staging", failing) == [failing]
    assert _images(release, "staging") == {f"{registry('staging')}/{image}@sha256:{'a' * 64}" for image in IMAGES}
    after = release.head("staging")
    assert git(release.clone, "rev-list", "--count", str(after)) == "3", "release a, release b, rollback: no force"
    release.build("c")
    assert release.upgrade("staging", "savepoint") == ["savepoint"]
    assert release.head("staging") == after, "a later failure rolls nothing back a second time"


def test_every_step_of_the_workflow_was_run() -> None:
    text = (REPO / ".github" / "workflows" / "upgrade.yml").read_text()
    assert set(re.findall(r"run: k8s/upgrade\.sh (\w+)", text)) == {*STEPS, "back"}


def _jobs(workflow: str) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load((REPO / ".github" / "workflows" / workflow).read_text())["jobs"]
    return jobs


def test_images_have_the_version_of_the_release_everywhere() -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((REPO / AIRFLOW).read_text())["defaultAirflowTag"] == version
    for name in OVERLAYS:
        overlay = yaml.safe_load((REPO / "k8s" / "overlays" / name / "kustomization.yaml").read_text())
        assert {str(item["newTag"]) for item in overlay["images"]} == {version}
    build = _jobs("deploy.yml")["build"]
    assert set(build["strategy"]["matrix"]["image"]) == set(IMAGES)
    step = next(item for item in build["steps"] if "tags" in item.get("with", {}))
    naming = next(item for item in build["steps"] if item.get("id") == "name")["run"]
    assert step["with"]["tags"].endswith(":${{ steps.name.outputs.version }}")
    assert 'version=${GITHUB_REF_NAME#v}"' in naming, "the tag v0.2.0 builds the image 0.2.0"
