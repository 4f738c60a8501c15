"""The repository holds files only: a symbolic link names a path of the machine on which it was made."""

from __future__ import annotations

import subprocess

from flink_jobs.settings import REPO_ROOT

SYMBOLIC_LINK = "120000"


def test_no_symbolic_link_is_tracked() -> None:
    command = ["git", "ls-files", "-s"]
    lines = subprocess.run(command, cwd=REPO_ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) > 1_000
    assert [line for line in lines if line.startswith(SYMBOLIC_LINK)] == []
