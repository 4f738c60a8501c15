"""Checks of the content of the built images; ``make images-check`` runs them after ``make images``."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab.platform.k8s_manifests import REPO
from tests.lab.platform.unpacked import FOLDER, Image

SYFT = str(Path(sys.executable).with_name("syft"))
BUILDERS = {"ar", "as", "cc", "c++", "cpp", "g++", "gcc", "javac", "jshell", "ld", "make", "mvn", "mypyc", "pip", "uv"}
CACHES = re.compile(
    r"/\.m2/|/\.cache/|^var/lib/apt/lists/.*Packages|^var/cache/apt/.*\.(deb|bin)$|/uv-cache/|/pip/cache/|^tmp/."
)
TESTERS = {"mypy", "pytest", "coverage", "sqlfluff", "ruff", "hypothesis"}


def _files(image: Image) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(image.archive) as archive:
        for item in archive:
            item.name = item.name.removeprefix("./")
            yield item


def _normal(name: str) -> str:
    """Return the name of a Python package, normalized as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_image_runs_as_an_unprivileged_user_that_owns_no_code(image: Image) -> None:
    assert image.user == "10001:10001"
    passwd = (image.root / "etc/passwd").read_text()
    assert re.search(r"^\w+:x:10001:10001:", passwd, re.MULTILINE), "Java and ssh need a name for the user id"
    mine = {item.name for item in _files(image) if item.uid == 10001 or item.gid == 10001}
    allowed = {"job": "opt/flink/log", "tools": "nothing", "airflow": "opt/airflow"}[image.name]
    assert {name for name in mine if not name.startswith((allowed, "opt/streamflow/dbt"))} == set()
    code = [item for item in _files(image) if item.name.startswith("opt/") and item.mode & stat.S_IWOTH]
    assert [item.name for item in code if not item.issym()] == []


def test_no_file_is_setuid_or_setgid(image: Image) -> None:
    assert [item.name for item in _files(image) if item.isreg() and item.mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_build_tools_and_caches_are_not_in_the_image(image: Image) -> None:
    names = [item.name for item in _files(image)]
    assert len(names) > 1000
    programs = {Path(name).name for name in names if "/bin/" in f"/{name}" or "/sbin/" in f"/{name}"}
    assert "python3" in programs
    assert programs & BUILDERS == set()
    assert [name for name in names if CACHES.search(name)] == []


def test_test_tools_are_not_in_the_image(image: Image) -> None:
    found = {item.name.rsplit("/", 2)[-1] for item in _files(image) if re.search(r"site-packages/[^/]+$", item.name)}
    assert "numpy" in found or "airflow" in found
    assert found & TESTERS == set()
    assert not (image.root / "opt/streamflow/tests").exists()


def test_labels_name_image_version_and_revision(image: Image) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in image.settings["Labels"].items()}
    assert labels["title"] == f"streamflow/{image.name}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["description"]
    version = re.search(r'^version = "(.*)"', (REPO / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert labels["version"] == version[1]
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])


def test_the_bill_of_materials_lists_every_package(image: Image) -> None:
    target = FOLDER / f"{image.name}.spdx.json"
    version = image.settings["Labels"]["org.opencontainers.image.version"]
    command = [SYFT, "scan", f"dir:{image.root}", "--output", f"spdx-json={target}", "--quiet"]
    subprocess.run([*command, "--source-name", f"streamflow/{image.name}", "--source-version", version], check=True)
    listed = {(item["name"].lower(), item.get("versionInfo")) for item in json.loads(target.read_text())["packages"]}
    names = {name for name, _ in listed}
    installed = re.findall(r"^Package: (.*)$", (image.root / "var/lib/dpkg/status").read_text(), re.MULTILINE)
    assert len(installed) > 50
    assert set(installed) - names == set()
    places = image.root.glob("opt/streamflow/.venv*/lib/*/site-packages/*.dist-info")
    python = {path.name.partition("-")[0] for path in places}
    assert len(python) > 20
    assert {_normal(name) for name in python} - {_normal(name) for name in names} == set()
    jars = {path.stem for path in image.root.glob("opt/flink/lib/*.jar")}
    assert bool(jars) == (image.name == "job")
    assert {jar for jar in jars if not any(jar.lower().startswith(name.split(":")[-1]) for name in names)} == set()
