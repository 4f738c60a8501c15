"""The version of the code, for models and reports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib

from flink_jobs.settings import REPO_ROOT

REVISION = "STREAMFLOW_REVISION"
"""Variable with the commit, for images, which hold no git checkout; their build sets it."""


def code_version() -> str:
    """Return the release, and after a ``+`` the commit where it is known: ``0.2.0+0123456789ab``."""
    with (REPO_ROOT / "pyproject.toml").open("rb") as file:
        release = str(tomllib.load(file)["project"]["version"])
    commit = os.environ.get(REVISION, "") if not (REPO_ROOT / ".git").exists() else _checked_out()
    return f"{release}+{commit[:12]}" if commit else release


def _checked_out() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    answer = subprocess.run(
        [git, "-C", str(REPO_ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()
