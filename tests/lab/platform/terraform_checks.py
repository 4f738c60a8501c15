"""Checks of terraform/ with Terraform, tflint and checkov; ``make platform-check`` runs them.

Terraform reads the schema of the AWS provider from a stand-in (``standin/``). ``make test`` does not collect this file:
building the stand-in and tflint and installing checkov takes minutes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.platform.k8s_manifests import K8S, OVERLAYS, REPO, tool

TERRAFORM = REPO / "terraform"
MODULES = sorted(path.name for path in (TERRAFORM / "modules").iterdir())
CHECKOV = REPO / ".venv-checkov" / "bin" / "checkov"


def _terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TF_CLI_CONFIG_FILE": str(REPO / ".tools" / "terraform.rc"), "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        ["terraform", *arguments, "-no-color"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of terraform/, so that ``terraform init`` writes nothing into the checkout."""
    folder = tmp_path_factory.mktemp("checkout") / "terraform"
    shutil.copytree(TERRAFORM, folder, ignore=shutil.ignore_patterns(".terraform*"))
    return folder


def _valid(folder: Path) -> str:
    """Return the errors that ``terraform validate`` prints for a folder."""
    started = _terraform(folder, "init", "-backend=false", "-input=false")
    assert started.returncode == 0, started.stderr
    return _terraform(folder, "validate").stderr


def test_every_file_is_formatted() -> None:
    assert _terraform(TERRAFORM, "fmt", "-check", "-recursive").stdout == ""


def test_there_are_six_modules() -> None:
    assert MODULES == ["cluster", "kafka", "network", "observability", "postgres", "storage"]


@pytest.mark.parametrize("environment", OVERLAYS)
def test_environments_are_valid(copy: Path, environment: str) -> None:
    assert _valid(copy / "environments" / environment) == ""


def test_environments_differ_in_values_only() -> None:
    files = {name: (TERRAFORM / "environments" / name / "main.tf").read_text() for name in OVERLAYS}
    for name, text in files.items():
        assert len(text.splitlines()) < 50
        files[name] = re.sub(r'"[^"\n]*"|\b\d+\b|true|false|\b(?:dev|staging|prod)\b', "VALUE", text)
    assert len(set(files.values())) == 1


def test_the_deploy_workflow_reads_the_variables_that_terraform_prints() -> None:
    outputs = (TERRAFORM / "stack" / "outputs.tf").read_text()
    printed = set(re.findall(r"^    ([A-Z_]+)\s+= ", outputs, re.MULTILINE))
    workflows = "".join(path.read_text() for path in (REPO / ".github" / "workflows").glob("*.yml"))
    assert printed
    assert printed <= set(re.findall(r"\bvars\.([A-Z_]+)", workflows))


def test_terraform_tests_pass(copy: Path) -> None:
    assert _valid(copy / "stack") == ""
    done = _terraform(copy / "stack", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! \d+ passed, 0 failed", done.stdout)


@pytest.mark.parametrize(
    ("module", "wanted", "planted", "words"),
    [
        ("postgres", "storage_encrypted     = true", "storage_encripted     = true", "Unsupported argument"),
        ("postgres", "  instance_class = var.instance_class\n", "", "Missing required argument"),
        (
            "kafka",
            "max_size     = var.nodes_per_zone + 1",
            'max_size     = "many"',
            'Inappropriate value for attribute "max_size"',
        ),
        ("storage", "aws_kms_key.this.arn", "aws_kms_key.other.arn", "undeclared resource"),
    ],
)
def test_a_planted_mistake_is_named(tmp_path: Path, module: str, wanted: str, planted: str, words: str) -> None:
    folder = tmp_path / module
    shutil.copytree(TERRAFORM / "modules" / module, folder, ignore=shutil.ignore_patterns(".terraform*"))
    main = folder / "main.tf"
    assert wanted in main.read_text()
    main.write_text(main.read_text().replace(wanted, planted))
    assert words in _valid(folder)


def test_an_assertion_that_does_not_hold_fails(copy: Path) -> None:
    folder = copy.parent / "worse"
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    main = folder / "modules" / "cluster" / "main.tf"
    main.write_text(main.read_text().replace("endpoint_public_access  = false", "endpoint_public_access  = true"))
    assert _valid(folder / "stack") == ""
    assert "is reachable from the internet" in _terraform(folder / "stack", "test").stderr


@pytest.mark.parametrize("folder", [*(f"modules/{name}" for name in MODULES), "stack"])
def test_every_variable_and_output_is_described(folder: str) -> None:
    text = "".join((TERRAFORM / folder / name).read_text() for name in ("variables.tf", "outputs.tf"))
    blocks = re.findall(r'^(?:variable|output) "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    assert blocks
    for name, body in blocks:
        assert re.search(r'description = "[^"]{10,}', body), name


def test_platform_env_of_every_overlay_has_the_keys_that_terraform_prints() -> None:
    written = re.findall(r"^    (\w+)=", (TERRAFORM / "stack" / "outputs.tf").read_text(), re.MULTILINE)
    assert written
    for overlay in OVERLAYS:
        lines = (K8S / "overlays" / overlay / "platform.env").read_text().splitlines()
        assert [line.partition("=")[0] for line in lines if not line.startswith("#")] == written


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


def test_tflint_finds_nothing(copy: Path) -> None:
    assert _tflint(copy) == ""


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
    shutil.copytree(TERRAFORM / "modules", folder, ignore=shutil.ignore_patterns(".terraform*"))
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
    shutil.copytree(TERRAFORM / "modules", folder, ignore=shutil.ignore_patterns(".terraform*"))
    main = folder / "postgres" / "main.tf"
    main.write_text(
        main.read_text().replace("publicly_accessible                 = false", "publicly_accessible = true")
    )
    assert any("CKV_AWS_17" in line for line in _checkov(folder))
