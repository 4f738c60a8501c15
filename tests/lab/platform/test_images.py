"""The Dockerfiles under hadolint, and their users, versions and packages against the rest of the checkout."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from tests import golden
from tests.lab.platform.k8s_manifests import REPO

FOLDER = REPO / "k8s" / "images"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
HADOLINT = Path(sys.executable).with_name("hadolint")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())


def _hadolint(text: str) -> str:
    done = subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode else ""


def _last(instruction: str, text: str) -> str:
    return str(re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)[-1])


def test_there_are_three() -> None:
    assert [path.name.partition(".")[0] for path in DOCKERFILES] == ["airflow", "job", "tools"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    assert _hadolint(path.read_text()) == ""


@pytest.mark.parametrize(
    ("wanted", "planted"),
    [
        (
            "RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv",
            "RUN apt-get install python3-venv",
        ),
        ("FROM ${BASE} AS base", "FROM debian AS base"),
        ("WORKDIR /opt/streamflow", "RUN cd /opt/streamflow"),
    ],
)
def test_hadolint_finds_a_planted_mistake(wanted: str, planted: str) -> None:
    text = (FOLDER / "tools.Dockerfile").read_text()
    assert wanted in text
    assert _hadolint(text.replace(wanted, planted)) != ""


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_image_is_not_root_and_its_base_has_a_version(path: Path) -> None:
    text = path.read_text()
    user = _last("USER", text).partition(":")[0]
    assert user.isdigit(), "Kubernetes can only tell from a number that the user is not root"
    assert int(user) > 0
    assert re.search(r"^ARG BASE=\S+:\S+\d", text, re.MULTILINE)
    assert text.count("\nFROM ") > 1, "the build stage must be separate"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_copied_files_exist_and_are_not_ignored(path: Path) -> None:
    allowed = [line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [
        source
        for line in re.findall(r"^COPY (?!.*--from)(.*)$", path.read_text(), re.MULTILINE)
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]
    assert sources
    for source in sources:
        assert (REPO / source).exists(), source
        assert any(source == item or source.startswith(f"{item}/") for item in allowed), (
            f".dockerignore excludes {source}"
        )


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_versions_are_those_of_the_checkout(path: Path) -> None:
    text = path.read_text()
    bootstrap = (REPO / "flink_jobs" / "local" / "bootstrap.sh").read_text()
    pin = re.search(r"UV_PIN=(\S+)", bootstrap)
    assert pin
    assert set(re.findall(r"uv==(\S+)", text)) == {pin[1]}
    groups = set(re.findall(r"--group (\S+)", text))
    assert groups <= set(PROJECT["dependency-groups"])


def test_the_object_storage_plugin_is_of_the_locked_flink() -> None:
    flink = next(item for item in PROJECT["dependency-groups"]["job"] if item.startswith("apache-flink=="))
    minor = flink.partition("==")[2].rpartition(".")[0]
    # The plugin is not published for every patch release; `make images-check` writes checkpoints through it.
    assert re.search(
        rf"<version>{re.escape(minor)}\.\d+</version>",
        (REPO / "flink_jobs" / "local" / "maven" / "object-storage.xml").read_text(),
    )


def _imports(name: str, seen: set[str]) -> set[str]:
    """Return the third-party packages that a module of ours imports, directly or through other modules of ours."""
    if name in seen:
        return set()
    seen.add(name)
    base = REPO / name.replace(".", "/")
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    if not path.exists():
        return set()
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            top = module.partition(".")[0]
            found |= _imports(module, seen) if top in {"api", "flink_jobs", "ml"} else {top}
    return found - sys.stdlib_module_names


def _modules(*folders: str) -> list[str]:
    paths = [path for folder in folders for path in sorted((REPO / folder).rglob("*.py"))]
    return [".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__") for path in paths]


@pytest.mark.parametrize(
    ("image", "starts", "among"),
    [
        ("job", ["flink_jobs.job.detect", "flink_jobs.job.archive"], {"pyflink", "orjson", "boto3"}),
        ("tools", _modules("flink_jobs/cli"), {"cryptography", "psycopg", "sklearn", "kafka"}),
    ],
)
def test_an_image_has_every_package_that_its_programs_import(image: str, starts: list[str], among: set[str]) -> None:
    # Lazy imports count too: the artifact store imports boto3 only when it uses S3.
    seen: set[str] = set()
    needed = set().union(*(_imports(name, seen) for name in starts))
    assert among <= needed
    group = {re.split(r"[<>=\[]", item)[0] for item in PROJECT["dependency-groups"][image]}
    for name in [*group]:
        group |= {re.split(r"[<>=!~;\[ (]", item)[0] for item in requires(name) or ()}
    places = packages_distributions()
    for module in needed:
        assert group & {place.lower().replace("_", "-") for place in places[module]}, (
            f"{module} is imported but not in the dependency group `{image}`, from which the image is built"
        )


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_have_no_check_tools(path: Path) -> None:
    checks = {"mypy", "pytest", "coverage", "sqlfluff", "ruff"}
    # The build stage compiles the core with the group `native`, in a separate environment that is not copied.
    groups = set(re.findall(r"--group (\S+)", path.read_text())) - {"native"}
    assert groups
    for group in groups:
        items = PROJECT["dependency-groups"][group]
        assert not {re.split(r"[<>=\[]", item)[0] for item in items if isinstance(item, str)} & checks, group
        assert not [item for item in items if not isinstance(item, str)], f"{group} takes in other groups"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_build_argument_has_its_own_line(path: Path) -> None:
    # Buildah and older versions of Docker read only the first argument of a line.
    lines = re.findall(r"^ARG (.*)$", path.read_text(), re.MULTILINE)
    assert {line.partition("=")[0] for line in lines} == {"BASE", "VERSION", "REVISION"}
    assert all(len(line.split()) == 1 for line in lines)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_manual_folder_exists_before_java_is_installed(path: Path) -> None:
    # Slim images have no /usr/share/man/*, without which the installation of Java's package fails.
    steps = re.findall(r"^RUN (.*?[^\\])$", path.read_text(), re.MULTILINE | re.DOTALL)
    assert steps
    for step in steps:
        if "openjdk" in step:
            assert step.startswith("mkdir -p /usr/share/man/man1 "), step


def test_only_the_image_with_the_compiled_core_requires_it() -> None:
    # In the settings of all pods, the variable would stop pods whose image has no compiled core, such as the migration.
    assert "STREAMFLOW_CORE=compiled" in (FOLDER / "job.Dockerfile").read_text()
    others = [FOLDER / "tools.Dockerfile", FOLDER / "airflow.Dockerfile", REPO / "k8s" / "base" / "settings.env"]
    assert [path.name for path in others if "STREAMFLOW_CORE" in path.read_text()] == []


def test_the_database_is_not_newer_than_the_pg_dump_of_the_image() -> None:
    # Debian 12 contains the client programs of Postgres 15.
    assert re.search(r"^ARG BASE=debian:12\.", (FOLDER / "airflow.Dockerfile").read_text(), re.MULTILINE)
    cloud = (REPO / "terraform" / "modules" / "postgres" / "main.tf").read_text()
    assert set(re.findall(r'engine_version\s*= "(\d+)"|family\s*= "postgres(\d+)"', cloud)) == {("15", ""), ("", "15")}
    assert set(re.findall(r"image: postgres:(\d+)", (REPO / "compose.yaml").read_text())) == {"15"}


def test_prometheus_receives_bucket_bounds_unchanged() -> None:
    wanted = 'metrics.reporter.prom.filterLabelValueCharacters: "false"'
    for place in (FOLDER / "job.Dockerfile", REPO / "k8s" / "components" / "flink-common" / "common.yaml"):
        assert wanted in place.read_text(), place


@pytest.mark.parametrize("arguments", [[], ["job"]])
def test_the_entry_point_prints_its_usage(arguments: list[str]) -> None:
    done = subprocess.run([FOLDER / "entrypoint.sh", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "entrypoint.sh" in done.stderr


def _entry(folder: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point of the job image with a stand-in for Flink's script, which prints its arguments."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    script = programs / "standalone-job.sh"
    script.write_text('#!/bin/sh\necho "$@"\n')
    script.chmod(0o755)
    (programs / "python").unlink(missing_ok=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    names = {
        "KAFKA_BOOTSTRAP_SERVERS": "h:1", "POSTGRES_HOST": "h", "POSTGRES_PORT": "1", "POSTGRES_DATABASE": "d",
        "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "FLINK_REST_URL": "http://h",
        "TOPIC_PREFIX": golden.prefix_of(golden.GOLDEN[-1]),
        "CHECKPOINT_DIR": (folder / "chk").as_uri(), "SAVEPOINT_DIR": (folder / "sp").as_uri(),
        "HOME": str(folder), **settings,
    }  # fmt: skip
    environment = {f"STREAMFLOW_{name}": value for name, value in names.items()}
    environment |= {"PATH": f"{programs}{os.pathsep}{os.defpath}", "PYTHONPATH": str(REPO)}
    command = [str(FOLDER / "entrypoint.sh"), "job", "/opt/streamflow/flink_jobs/job/detect.py", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_job_in_a_container_resumes_when_the_container_is_started_again(tmp_path: Path) -> None:
    first = _entry(tmp_path)
    assert first.returncode == 0, first.stderr
    assert "--fromSavepoint" not in first.stdout
    assert "detect starts without state" in first.stderr
    kept = golden.unpack(golden.GOLDEN[-1], tmp_path).rename(tmp_path / "sp" / "savepoint-1")
    again = _entry(tmp_path, "-D", "a=b")
    assert f"PythonDriver --fromSavepoint {kept.as_uri()} -D a=b -pyclientexec" in again.stdout
    assert "detect resumes from its newest savepoint" in again.stderr
    named = _entry(tmp_path, "--fromSavepoint", "file:/other")
    assert named.stdout.count("--fromSavepoint") == 1
    assert "--fromSavepoint" not in _entry(tmp_path, FRESH="1").stdout
    (kept / "_metadata").write_bytes(b"nonsense")
    damaged = _entry(tmp_path)
    assert damaged.returncode == 2
    assert damaged.stdout == ""
    assert "STREAMFLOW_FRESH=1" in damaged.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "unknown image nothing; images: job tools airflow"),
        (["--with", "lxc", "tools"], "unknown engine lxc"),
        (["tools", "--base"], "--base needs a value"),
    ],
)
def test_the_builder_rejects_wrong_arguments(arguments: list[str], words: str) -> None:
    done = subprocess.run([FOLDER / "build.sh", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_builder_lists_every_dockerfile() -> None:
    listed = re.search(r"^readonly IMAGES=\((.*)\)$", (FOLDER / "build.sh").read_text(), re.MULTILINE)
    assert listed
    assert sorted(listed[1].split()) == [path.name.partition(".")[0] for path in DOCKERFILES]
