"""terraform/ checked by tflint and checkov; ``make platform-check`` runs this after ``test_terraform.py``.

``make test`` does not collect this file: building tflint and installing checkov takes minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.platform.k8s_manifests import REPO, tool
from tests.lab.platform.terraform_tools import TERRAFORM, WRITTEN, copied

CHECKOV = REPO / ".venv-checkov" / "bin" / "checkov"


def _tflint(folder: Path) -> str:
    """Return the findings of tflint in a folder and the folders below it."""
    (folder / "terraform.rc").touch()  # without Terraform's configuration file tflint prints a warning
    done = subprocess.run(
        [tool("tflint"), "--recursive", "--config", str(TERRAFORM / ".tflint.hcl"), "--format", "compact"],
        cwd=folder,
        env=os.environ | {"TF_CLI_CONFIG_FILE": str(folder / "terraform.rc")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_tflint_finds_nothing(tmp_path: Path) -> None:
    assert _tflint(copied(tmp_path)) == ""


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ("locals {\n  spare = 1\n}\n", "local.spare is declared but not used"),
        ('output "again" {\n  value = "${var.name}"\n}\n', "Interpolation-only expressions are deprecated"),
        ('resource "terraform_data" "BrokerNode" {}\n', "must match the following format: snake_case"),
        ('module "other" {\n  source = "git::https://example.org/other.git"\n}\n', "is not pinned"),
    ],
)
def test_tflint_names_a_planted_mistake(tmp_path: Path, planted: str, words: str) -> None:
    folder = tmp_path / "modules"
    shutil.copytree(TERRAFORM / "modules", folder, ignore=WRITTEN)
    with (folder / "kafka" / "main.tf").open("a") as main:
        main.write(planted)
    assert words in _tflint(folder)


def _checkov(folder: Path) -> list[str]:
    """Return one line for each finding of checkov in a folder."""
    done = subprocess.run(
        [CHECKOV, "--directory", str(folder), "--config-file", str(TERRAFORM / ".checkov.yaml"), "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 0, "checkov checked nothing"
    return [
        f"{item['check_id']} {item['resource']}: {item['check_name']}" for item in report["results"]["failed_checks"]
    ]


def test_checkov_finds_nothing() -> None:
    assert _checkov(TERRAFORM) == []


def test_checkov_names_a_planted_mistake(tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    shutil.copytree(TERRAFORM / "modules", folder, ignore=WRITTEN)
    main = folder / "postgres" / "main.tf"
    main.write_text(
        main.read_text().replace("publicly_accessible                 = false", "publicly_accessible = true")
    )
    assert any("CKV_AWS_17" in line for line in _checkov(folder))
