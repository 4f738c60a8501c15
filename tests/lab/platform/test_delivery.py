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

WORKFLOWS = sorted((REPO / ".github" / "workflows").glob("*.yml"))
ZIZMOR = Path(sys.executable).with_name("zizmor")
IMAGES = ("job", "tools", "airflow")


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
def release(tmp_path: Path) -> Path:
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
def test_a_tag_that_is_no_release_is_rejected(release: Path, tag: str, changelog: str | None, said: str) -> None:
    project = release / "pyproject.toml"
    project.write_text(re.sub(r'(?m)^version = ".*"', 'version = "0.2.0"', project.read_text(), count=1))
    if changelog is not None:
        (release / "CHANGELOG.md").write_text(changelog)
    done = _notes(release, tag)
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


def _targets(script: str) -> list[str]:
    return [part.split()[1] for part in script.split("&&") if part.split()[:1] == ["make"]]


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone with k8s/, in which staging has a real account number; its origin is a bare repository."""
    origin, folder = tmp_path / "origin.git", tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--bare", str(origin)], check=True)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", str(folder)], check=True)
    shutil.copytree(REPO / "k8s", folder / "k8s")
    (folder / ".tools").mkdir()
    (folder / ".tools" / "bin").symlink_to(REPO / ".tools" / "bin")
    values = folder / "k8s" / "overlays" / "staging" / "platform.env"
    values.write_text(values.read_text().replace("000000000000", "123456789012"))
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        _git(folder, "config", name, value)
    _git(folder, "remote", "add", "origin", str(origin))
    _git(folder, "add", "k8s")
    _git(folder, "commit", "--quiet", "--message", "a release")
    _git(folder, "push", "--quiet", "origin", "main")
    return folder


def _upgrade(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {
        "BRANCH": "deploy/staging",
        "REGISTRY": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/streamflow-staging",
    }
    return subprocess.run(
        [clone / "k8s" / "upgrade.sh", *arguments],
        cwd=clone,
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=False,
    )


def _digests(clone: Path, digit: str) -> str:
    folder = clone / f"digests-{digit}"
    folder.mkdir()
    for image in IMAGES:
        (folder / image).write_text(f"sha256:{digit * 64}\n")
    return folder.name


def test_an_upgrade_and_its_rollback_are_commits_on_the_branch(clone: Path) -> None:
    overlay = "k8s/overlays/staging"
    for digit in ("a", "b"):
        pushed = _upgrade(clone, "push", overlay, _digests(clone, digit))
        assert pushed.returncode == 0, pushed.stderr
    _git(clone, "fetch", "--quiet", "origin")
    assert "b" * 64 in _git(clone, "show", f"origin/deploy/staging:{overlay}/kustomization.yaml")
    back = _upgrade(clone, "back")
    assert back.returncode == 0, back.stderr
    _git(clone, "fetch", "--quiet", "origin")
    assert "a" * 64 in _git(clone, "show", f"origin/deploy/staging:{overlay}/kustomization.yaml")
    assert len(_git(clone, "rev-list", "origin/deploy/staging").splitlines()) == 3, "every push was a fast-forward"


def test_placeholders_and_invalid_digests_are_rejected(clone: Path) -> None:
    refused = _upgrade(clone, "push", "k8s/overlays/prod", _digests(clone, "c"))
    assert refused.returncode
    assert "placeholder account" in refused.stderr
    (clone / "digests-c" / "job").write_text("latest")
    assert "contains no digest" in _upgrade(clone, "push", "k8s/overlays/staging", "digests-c").stderr


def test_a_rollback_without_an_earlier_release_is_an_error(clone: Path) -> None:
    assert _upgrade(clone, "push", "k8s/overlays/staging", _digests(clone, "d")).returncode == 0
    assert "has no earlier release" in _upgrade(clone, "back").stderr


def test_an_unknown_step_prints_the_known_steps(clone: Path) -> None:
    done = _upgrade(clone, "sideways")
    assert done.returncode
    assert "steps: savepoint" in done.stderr
