"""The design documents name files and tests that exist."""

import re
import subprocess
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from tests.house.markdown import REPO, documents

PAGES = [page for page in documents() if page.is_relative_to(REPO / "docs/adr") or page.name == "architecture.md"]
ROOTS = ("flink_jobs/", "ml/", "tests/", "docs/", "k8s/", "terraform/", "sql/", "dbt/", "dags/")


def _git(*arguments: str) -> set[str]:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


@cache
def tracked_paths() -> frozenset[str]:
    files = _git("ls-files", "--cached", "--others", "--exclude-standard")
    return frozenset(files | {str(parent) for name in files for parent in PurePosixPath(name).parents})


@cache
def known_tests() -> frozenset[str]:
    found = _git("grep", "--untracked", "-hoE", r"def test_\w+", "--", "tests")
    return frozenset(line.removeprefix("def ") for line in found)


def missing(text: str) -> list[str]:
    """Return the paths and test names in code spans of a text that the repository lacks."""
    spans = re.findall(r"`([\w./-]+)`", text)
    paths = [span for span in spans if span.startswith(ROOTS) and span.rstrip("/") not in tracked_paths()]
    tests = [span for span in spans if re.fullmatch(r"test_\w+", span) and span not in known_tests()]
    return paths + tests


def test_there_are_design_documents() -> None:
    assert len(PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_every_file_and_test_that_a_design_document_names_exists(page: Path) -> None:
    assert missing(page.read_text(encoding="utf-8")) == []


def test_a_missing_file_and_a_missing_test_are_found() -> None:
    assert missing("`ml/no_such_file.py` and `test_no_such_behaviour`") == [
        "ml/no_such_file.py",
        "test_no_such_behaviour",
    ]
