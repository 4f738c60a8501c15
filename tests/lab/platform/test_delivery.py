"""The workflows under actionlint and zizmor, the release notes, and the deploy branch in a real git repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.lab.platform.k8s_manifests import REPO, tool
from tests.lab.platform.release_rig import Release, registry

WORKFLOWS = sorted((REPO / ".github" / "workflows").glob("*.yml"))
ZIZMOR = Path(sys.executable).with_name("zizmor")


def _lint(folder: Path) -> str:
    """Return the findings of actionlint and zizmor in a folder of workflows."""
    linted = [
        subprocess.run(command, capture_output=True, text=True, check=False)
        for command in (
            [
                tool("actionlint"),
                "-config-file",
                str(REPO / ".github" / "actionlint.yaml"),
                *map(str, folder.glob("*.yml")),
            ],
            [str(ZIZMOR), "--offline", "--no-progress", "--config", str(REPO / ".github" / "zizmor.yml"), str(folder)],
        )
    ]
    return "".join(done.stdout for done in linted if done.returncode)


def _notes(checkout: Path, tag: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / ".github" / "release-notes.sh"), tag]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def notes_of(tmp_path: Path) -> Path:
    """Return a folder with the files that the release notes come from."""
    (tmp_path / ".github").mkdir()
    for name in ("pyproject.toml", "CHANGELOG.md", ".github/release-notes.sh"):
        shutil.copy(REPO / name, tmp_path / name)
    return tmp_path


def test_release_notes_are_the_section_of_the_changelog() -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    done = _notes(REPO, f"v{version}")
    assert done.returncode == 0, done.stderr
    assert "### Added" in done.stdout
    assert "\n## " not in done.stdout


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("0.2.0", None, "is not a release tag"),
        ("v0.2.1", None, "is not the version in pyproject.toml"),
        ("v0.2.0", "## 0.1.0 - 2026-01-01\n\nFirst.\n", "has no section '## 0.2.0 - DATE'"),
        ("v0.2.0", "## 0.2.0 - 2026-01-01\n\n## 0.1.0 - 2026-01-01\n\nFirst.\n", "or the section is empty"),
    ],
)
def test_a_tag_that_is_no_release_is_rejected(notes_of: Path, tag: str, changelog: str | None, said: str) -> None:
    project = notes_of / "pyproject.toml"
    project.write_text(re.sub(r'(?m)^version = ".*"', 'version = "0.2.0"', project.read_text(), count=1))
    if changelog is not None:
        (notes_of / "CHANGELOG.md").write_text(changelog)
    done = _notes(notes_of, tag)
    assert done.returncode == 1
    assert said in done.stderr


def test_workflows_have_no_findings() -> None:
    assert len(WORKFLOWS) == 3
    assert _lint(REPO / ".github" / "workflows") == ""


@pytest.mark.parametrize(
    ("wanted", "planted"),
    [
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-1.0"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1  # v7.0.1", "@main"),
        ("    permissions:\n      contents: read\n", "    permissions: write-all\n"),
        ("persist-credentials: false", "fetch-depth: 1"),
        ("- run: make lint", "- run: echo ${{ github.event.pull_request.title }}"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path: Path, wanted: str, planted: str) -> None:
    text = (REPO / ".github" / "workflows" / "ci.yml").read_text()
    assert wanted in text
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "ci.yml").write_text(text.replace(wanted, planted))
    assert _lint(folder) != ""


def test_ci_calls_targets_that_exist() -> None:
    jobs = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert len(jobs) >= 8
    makefile = (REPO / "Makefile").read_text()
    called = [word for job in jobs.values() for step in job["steps"] for word in _targets(step.get("run", ""))]
    assert called
    for target in called:
        assert f"\n{target}:" in makefile, target


def test_a_release_passes_every_gate_of_a_change() -> None:
    workflows = {path.name: yaml.safe_load(path.read_text()) for path in WORKFLOWS}
    deploy, checks = workflows["deploy.yml"]["jobs"], workflows["ci.yml"]["jobs"]
    assert "workflow_call" in workflows["ci.yml"]["on"]
    assert deploy["checks"]["uses"] == "./.github/workflows/ci.yml"
    assert "checks" in deploy["build"]["needs"], "no image is built before the checks have passed"
    commands = [step["run"] for job in checks.values() for step in job["steps"] if "run" in step]
    # With PYTEST_FLAGS the Makefile leaves out the DAG tests, the compiled core's tests and the coverage gates.
    assert "make test" in commands
    assert not [command for command in commands if "PYTEST_FLAGS" in command]
    assert {"make lint", "make types", "make platform-check", "make security", "make test-python"} <= set(commands)
    assert checks["python"]["strategy"]["matrix"]["version"] == ["3.11", "3.12"]


def _targets(script: str) -> list[str]:
    return [part.split()[1] for part in script.split("&&") if part.split()[:1] == ["make"]]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Return a repository with a real account number in every environment."""
    made = Release(tmp_path)
    made.build("a")
    return made


def _upgrade(release: Release, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {"BRANCH": "deploy/staging", "REGISTRY": registry("staging")}
    return subprocess.run(
        [release.clone / "k8s" / "upgrade.sh", *arguments],
        cwd=release.clone,
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_placeholders_and_invalid_digests_are_rejected(release: Release) -> None:
    refused = _upgrade(release, "push", "k8s/overlays/dev", "digests")
    assert refused.returncode
    assert "placeholder account" in refused.stderr
    (release.clone / "digests" / "job").write_text("latest")
    assert "contains no digest" in _upgrade(release, "push", "k8s/overlays/staging", "digests").stderr
    (release.clone / "digests" / "airflow").unlink()
    (release.clone / "digests" / "job").write_text(f"sha256:{'a' * 64}")
    assert "no digest of the image airflow" in _upgrade(release, "push", "k8s/overlays/staging", "digests").stderr


def test_a_rollback_needs_the_newest_commit_and_an_earlier_release(release: Release) -> None:
    assert _upgrade(release, "push", "k8s/overlays/staging", "digests").returncode == 0
    first = str(release.head("staging"))
    assert "has no earlier release" in _upgrade(release, "back", first).stderr
    release.build("b")
    assert _upgrade(release, "push", "k8s/overlays/staging", "digests").returncode == 0
    second = str(release.head("staging"))
    assert "nothing is rolled back" in _upgrade(release, "back", first).stdout
    assert release.head("staging") == second
    assert _upgrade(release, "back", second).returncode == 0
    rollback = str(release.head("staging"))
    assert "is itself a rollback" in _upgrade(release, "back", rollback).stderr
    assert release.head("staging") == rollback


def test_an_unknown_step_prints_the_known_steps(release: Release) -> None:
    done = _upgrade(release, "sideways")
    assert done.returncode
    assert "steps: savepoint" in done.stderr
