"""Runbooks and the disaster page have a command for the cluster wherever a command works on the local stack only."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.platform.k8s_manifests import K8S, REPO

PAGES = [*sorted((REPO / "docs" / "runbooks").glob("*.md")), REPO / "docs" / "on-call.md"]
DISASTER = REPO / "docs" / "disaster-recovery.md"
BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# On Kubernetes the operator owns the jobs, and the stack's processes do not exist.
OF_THE_STACK = re.compile(r"\$ streamflow (submit|cancel|jobs|status|up|down|savepoint (?:stop|take)|drift --serve)\b")
MARK = "# without Kubernetes"


def _unmarked(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if OF_THE_STACK.search(line) and MARK not in line]


@pytest.mark.parametrize("page", [*PAGES, DISASTER], ids=lambda path: path.stem)
def test_commands_of_the_local_stack_are_marked(page: Path) -> None:
    assert _unmarked(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_with_a_command_of_the_local_stack_has_one_for_the_cluster(page: Path) -> None:
    text = page.read_text()
    if MARK in text:
        assert [block for block in BLOCK.findall(text) if "$ kubectl " in block]


def test_a_command_without_a_mark_is_found() -> None:
    assert _unmarked("   $ streamflow submit detect\n   $ streamflow control show\n") == ["$ streamflow submit detect"]


def test_admin_runs_a_command_with_its_arguments_and_the_users_name(tmp_path: Path) -> None:
    """`kubectl` is a stand-in; `make cluster-check` runs the script against a real API server."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        "#!/usr/bin/env bash\n"
        'case "$*" in\n'
        '*dry-run*) echo \'{"spec": {"template": {"spec": {"containers": [{"args": ["--help"]}]}}}}\' ;;\n'
        f"*'create --filename -'*) cat >{tmp_path}/created ;;\n"
        "*phase*) printf Succeeded ;;\n"
        "*exitCode*) printf 3 ;;\n"
        "*logs*) echo the output ;;\n"
        "esac\n"
    )
    kubectl.chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "USER": "ada"}
    done = subprocess.run(
        [K8S / "admin.sh", "dlq", "list", "--since", "1h", "two words"],
        env=os.environ | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "the output\n"), done.stderr
    (container,) = json.loads((tmp_path / "created").read_text())["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["dlq", "list", "--since", "1h", "two words"]
    assert container["env"] == [{"name": "USER", "value": "ada"}]
