"""Runs the steps of .github/workflows/upgrade.yml in a real git repository with the real Kustomize.

Programs that need a cloud or a cluster are stand-ins: ``kubectl`` and ``curl`` answer as a healthy cluster does, and
``cosign`` works on a folder, in which one file is one image of a registry.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.lab.platform.k8s_manifests import BIN, REPO

IMAGES: Final = ("job", "tools", "airflow")
PLACEHOLDER: Final = "000000000000"
ACCOUNTS: Final = {"staging": "111111111111", "prod": "222222222222"}
STEPS: Final = ("promote", "savepoint", "push", "wait", "smoke", "objectives")
_EXPRESSION: Final = re.compile(r"\$\{\{ (.*?) \}\}")

_COSIGN: Final = """#!/usr/bin/env bash
set -euo pipefail
file() { echo "$REGISTRIES/${1//\\//_}"; }
case $1 in
  verify) [[ -f $(file "${@: -1}") ]] || { echo "no image ${*: -1}" >&2; exit 1; } ;;
  copy)
    from=${*: -2:1} to=${*: -1}
    [[ -f $(file "$from") ]] || { echo "no image $from" >&2; exit 1; }
    touch "$(file "${to%:*}@${from##*@}")"
    ;;
esac
"""
_KUBECTL: Final = """#!/usr/bin/env bash
case "$*" in
  *"create --output name"*) echo flinkstatesnapshot/before-upgrade-1 ;;
  *".status.state"*) [[ ${FAILING:-} == savepoint ]] && echo FAILED || echo COMPLETED ;;
  *".status.path"*) echo s3://bucket/savepoint-1 ;;
  *"wait"*) [[ ${FAILING:-} != wait ]] ;;
  *".status.conditions"*) [[ ${FAILING:-} == smoke ]] && echo Failed || echo Complete ;;
esac
"""
_CURL: Final = """#!/usr/bin/env bash
if [[ ${FAILING:-} == objectives ]]; then echo '{"data": {"result": [{"metric": {"alertname": "DetectorDown"}}]}}'
else echo '{"data": {"result": []}}'; fi
"""


def registry(environment: str) -> str:
    """Return the registry of an environment, as Terraform prints it for GitHub."""
    return f"{ACCOUNTS[environment]}.dkr.ecr.eu-central-1.amazonaws.com/streamflow-{environment}"


def git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


class Release:
    """A clone with a bare origin, a folder of registries, and the steps of the upgrade workflow."""

    def __init__(self, base: Path) -> None:
        """Create the clone, in which every environment has a real account number."""
        self.clone, self._origin, self._registries = base / "clone", base / "origin.git", base / "registries"
        self._programs, self._outputs = base / "programs", base / "outputs"
        self._registries.mkdir()
        self._programs.mkdir()
        for name, text in (
            ("cosign", _COSIGN),
            ("kubectl", _KUBECTL),
            ("curl", _CURL),
            ("sleep", "#!/bin/sh\nexec /bin/sleep 0.3\n"),
        ):
            (self._programs / name).write_text(text)
            (self._programs / name).chmod(0o755)
        subprocess.run(["git", "init", "--quiet", "--bare", str(self._origin)], check=True)
        subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", str(self.clone)], check=True)
        shutil.copytree(REPO / "k8s", self.clone / "k8s")
        shutil.copy(REPO / "pyproject.toml", self.clone)
        (self.clone / ".tools").mkdir()
        (self.clone / ".tools" / "bin").symlink_to(BIN)
        for name, account in ACCOUNTS.items():
            values = self.clone / "k8s" / "overlays" / name / "platform.env"
            values.write_text(values.read_text().replace(PLACEHOLDER, account))
        for key, value in (("user.name", "t"), ("user.email", "t@example.org")):
            git(self.clone, "config", key, value)
        git(self.clone, "remote", "add", "origin", str(self._origin))
        git(self.clone, "add", "k8s", "pyproject.toml")
        git(self.clone, "commit", "--quiet", "--message", "a release")
        git(self.clone, "push", "--quiet", "origin", "main")

    def copy(self, base: Path) -> Release:
        """Return a copy in another folder, which must not exist."""
        shutil.copytree(self.clone.parent, base, symlinks=True)
        made = copy.copy(self)
        made.clone, made._origin, made._registries = base / "clone", base / "origin.git", base / "registries"
        git(made.clone, "remote", "set-url", "origin", str(made._origin))
        return made

    def build(self, digit: str) -> None:
        """Push three images to staging's registry and store their digests, as the job ``build`` does."""
        folder = self.clone / "digests"
        folder.mkdir(exist_ok=True)
        for image in IMAGES:
            (folder / image).write_text(f"sha256:{digit * 64}\n")
            (self._registries / f"{registry('staging')}/{image}@sha256:{digit * 64}".replace("/", "_")).touch()

    def has(self, image: str) -> bool:
        """Return whether a registry holds an image that is named with its digest."""
        return (self._registries / image.replace("/", "_")).exists()

    def head(self, environment: str) -> str | None:
        """Return the commit of the environment's branch on the server, or None before the first release."""
        found = git(self._origin, "for-each-ref", "--format=%(objectname)", f"refs/heads/deploy/{environment}")
        return found or None

    def content(self, environment: str, path: str) -> str:
        """Return a file of the environment's branch on the server."""
        return git(self._origin, "show", f"deploy/{environment}:{path}")

    def upgrade(self, environment: str, failing: str = "") -> list[str]:
        """Run the steps of upgrade.yml in a fresh checkout; return the steps of upgrade.sh that failed.

        Args:
            environment: staging or prod.
            failing: step of upgrade.sh whose cluster, registry or alerts are unhealthy.
        """
        git(self.clone, "checkout", "--quiet", "--force", "main")
        git(self.clone, "fetch", "--quiet", "origin")
        job = yaml.safe_load((REPO / ".github" / "workflows" / "upgrade.yml").read_text())["jobs"]["upgrade"]
        known = {
            "inputs.environment": environment, "inputs.smoke": environment == "staging",
            "inputs.source": registry("staging"), "vars.REGISTRY": registry(environment),
            "vars.PROMETHEUS_URL": "http://prometheus",
        }  # fmt: skip
        failed = list[str]()
        for step in job["steps"]:
            if "k8s/upgrade.sh" in step.get("run", "") and _is_due(step.get("if"), known, has_failed=bool(failed)):
                code, outputs = self._run(step, _values(job["env"] | step.get("env", {}), known), failing)
                known |= {f"steps.{step.get('id')}.outputs.{key}": value for key, value in outputs}
                failed += [step["run"].split()[1]] if code else []
        return failed

    def _run(self, step: dict[str, Any], given: Mapping[str, str], failing: str) -> tuple[int, list[tuple[str, str]]]:
        self._outputs.write_text("")
        environment = os.environ | given | {
            "PATH": f"{self._programs}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(self._outputs),
            "REGISTRIES": str(self._registries), "FAILING": failing,
        }  # fmt: skip
        script = re.sub(r"objectives \d+", "objectives 1", step["run"])
        done = subprocess.run(
            ["bash", "-ec", script], cwd=self.clone, env=environment, check=False, capture_output=True
        )
        lines = self._outputs.read_text().splitlines()
        return done.returncode, [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def _is_due(condition: str | None, known: Mapping[str, object], *, has_failed: bool) -> bool:
    """Evaluate the conditions that upgrade.yml uses, as GitHub does: without a status function, ``success()``."""
    if condition is None:
        return not has_failed
    for name, value in known.items():
        condition = condition.replace(name, repr(value))
    asks_status = "failure()" in condition or "cancelled()" in condition
    condition = re.sub(r"steps\.\w+\.outputs\.\w+", "''", condition)
    condition = condition.replace("failure()", str(has_failed)).replace("cancelled()", "False")
    condition = condition.replace("||", " or ").replace("&&", " and ")
    return (asks_status or not has_failed) and bool(eval(condition, {"__builtins__": {}}))  # noqa: S307 - our own file


def _values(variables: Mapping[str, str], known: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of a step with their expressions replaced; unknown expressions are empty."""
    return {key: _EXPRESSION.sub(lambda found: str(known.get(found[1], "")), text) for key, text in _items(variables)}


def _items(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, text in variables.items():
        yield key, "signer" if key == "SIGNER" else str(text)
