"""A compiled core is used if, and only if, it was built from the present sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flink_jobs.native import build, modules
from flink_jobs.native.loader import VARIABLE, NativeFinder
from flink_jobs.settings import REPO_ROOT

IS_BUILT = modules.build_folder().is_dir()
needs_build = pytest.mark.skipif(not IS_BUILT, reason="no build of the present sources: run `make setup` with gcc")


def core_of(choice: str, code: str = "import flink_jobs.core.state.customer as module; print(module.__file__)") -> str:
    """Return the output of a new process with ``STREAMFLOW_CORE=choice``, or the last line of its error output."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, VARIABLE: choice, "PYTHONPATH": str(REPO_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def test_the_python_core_can_always_be_chosen() -> None:
    assert core_of("python").endswith("flink_jobs/core/state/customer.py")


def test_an_unknown_choice_is_refused() -> None:
    assert "STREAMFLOW_CORE is 'fast'; set it to one of auto, compiled, python" in core_of("fast")


@needs_build
def test_a_build_of_the_present_sources_is_used_by_default() -> None:
    assert core_of("auto").startswith(str(modules.build_folder()))


def test_after_an_edit_there_is_no_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = modules.build_folder()
    for path in [*modules.CORE.rglob("*.py"), *modules.CORE.rglob("*.c")]:
        copy = tmp_path / path.relative_to(modules.CORE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(modules, "CORE", tmp_path)
    assert modules.build_folder() == before
    with (tmp_path / "rules.py").open("a") as file:  # not compiled itself, but compiled modules depend on its layout
        file.write("# another word\n")
    assert modules.build_folder() != before


def test_the_finder_finds_the_compiled_modules_and_leaves_the_rest(tmp_path: Path) -> None:
    finder = NativeFinder(tmp_path)
    found = finder.find_spec("flink_jobs.core.state.customer")
    assert found is not None
    assert found.origin is not None
    assert found.origin.startswith(str(tmp_path))
    assert finder.find_spec("flink_jobs.core.control.config") is None
    assert finder.find_spec("flink_jobs.job.detector.operator") is None


@pytest.mark.parametrize("options", ["frozen=True", "slots=True"])
def test_an_unsupported_dataclass_is_refused_with_its_line(tmp_path: Path, options: str) -> None:
    source = tmp_path / "state.py"
    source.write_text(f"from dataclasses import dataclass\n\n@dataclass({options})\nclass A:\n    a: int\n")
    with pytest.raises(SystemExit, match=r"state\.py:3: a frozen or slotted dataclass crashes when compiled"):
        build.refuse_unsupported_dataclasses(source)


def test_every_compiled_module_exists_and_can_be_compiled() -> None:
    for name in modules.COMPILED:
        build.refuse_unsupported_dataclasses(modules.CORE / modules.source_of(name))


@needs_build
def test_an_existing_build_is_not_repeated() -> None:
    assert build.build() == modules.build_folder()
