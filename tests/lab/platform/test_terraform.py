"""terraform/ checked by Terraform and compared with the manifests: the short form of ``make platform-check``.

Terraform reads the schema of the AWS provider from a stand-in. ``terraform_checks.py`` adds tflint and checkov.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.lab.platform.k8s_manifests import K8S, OVERLAYS, REPO
from tests.lab.platform.terraform_tools import MODULES, PROGRAM, TERRAFORM, WRITTEN, copied, errors, terraform

needs_terraform = pytest.mark.skipif(PROGRAM is None, reason="no terraform on PATH")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of terraform/."""
    return copied(tmp_path_factory.mktemp("checkout"))


@needs_terraform
def test_every_file_is_formatted() -> None:
    assert terraform(TERRAFORM, "fmt", "-check", "-recursive").stdout == ""


def test_there_are_six_modules() -> None:
    assert MODULES == ["cluster", "kafka", "network", "observability", "postgres", "storage"]


@pytest.mark.parametrize("environment", OVERLAYS)
@needs_terraform
def test_environments_are_valid(copy: Path, environment: str) -> None:
    assert errors(copy / "environments" / environment) == ""


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


@needs_terraform
def test_terraform_tests_pass(copy: Path) -> None:
    assert errors(copy / "stack") == ""
    done = terraform(copy / "stack", "test")
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
@needs_terraform
def test_a_planted_mistake_is_named(tmp_path: Path, module: str, wanted: str, planted: str, words: str) -> None:
    folder = tmp_path / module
    shutil.copytree(TERRAFORM / "modules" / module, folder, ignore=WRITTEN)
    main = folder / "main.tf"
    assert wanted in main.read_text()
    main.write_text(main.read_text().replace(wanted, planted))
    assert words in errors(folder)


@needs_terraform
def test_an_assertion_that_does_not_hold_fails(copy: Path) -> None:
    folder = copy.parent / "worse"
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    main = folder / "modules" / "cluster" / "main.tf"
    main.write_text(main.read_text().replace("endpoint_public_access  = false", "endpoint_public_access  = true"))
    assert errors(folder / "stack") == ""
    assert "is reachable from the internet" in terraform(folder / "stack", "test").stderr


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
