"""Terraform with the stand-in for the provider's schema (``standin/``), as both checks of terraform/ use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from tests.lab.platform.k8s_manifests import REPO

if TYPE_CHECKING:
    from pathlib import Path

TERRAFORM: Final = REPO / "terraform"
MODULES: Final = sorted(path.name for path in (TERRAFORM / "modules").iterdir())
PROGRAM: Final = shutil.which("terraform")
CONFIG: Final = REPO / ".tools" / "terraform.rc"
WRITTEN: Final = shutil.ignore_patterns(".terraform*")
"""Files that ``terraform init`` writes."""


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Terraform in a folder.

    Raises:
        FileNotFoundError: Terraform or the stand-in is missing.
    """
    if PROGRAM is None or not CONFIG.exists():
        raise FileNotFoundError(
            "terraform or its stand-in is missing: install terraform, then run `make setup-platform`"
        )
    environment = os.environ | {"TF_CLI_CONFIG_FILE": str(CONFIG), "TF_IN_AUTOMATION": "1"}
    command = [PROGRAM, *arguments, "-no-color"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def copied(folder: Path) -> Path:
    """Return a copy of terraform/ in ``folder``, so that ``terraform init`` writes nothing into the checkout."""
    place = folder / "terraform"
    shutil.copytree(TERRAFORM, place, ignore=WRITTEN)
    return place


def errors(folder: Path) -> str:
    """Return the errors that ``terraform validate`` prints for a folder."""
    started = terraform(folder, "init", "-backend=false", "-input=false")
    assert started.returncode == 0, started.stderr
    return terraform(folder, "validate").stderr
