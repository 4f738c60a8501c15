"""Files that another process deletes after they are listed; `flink_jobs/changing_folders.py` leaves them out."""

import ast
from collections.abc import Iterator

from tests.house.markdown import REPO

FOLDERS = ("api", "dags", "flink_jobs", "ml", "tests/integration", "tests/lab")
SOURCES = [path for folder in FOLDERS for path in sorted((REPO / folder).rglob("*.py"))]
LISTINGS = {"glob", "iterdir", "rglob", "scandir"}
EXPRESSIONS = ast.DictComp | ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.Call


def asks_for_what_may_be_gone(text: str) -> Iterator[int]:
    """Yield the lines of expressions that list a folder and ask for the status of the listed files."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, EXPRESSIONS):
            called = {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
            if called & LISTINGS and called & {"stat", "lstat"}:
                yield node.lineno


def test_the_rule_finds_the_fault() -> None:
    faults = (
        "size = sum(path.stat().st_size for path in folder.rglob('*'))",
        "newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime)",
        "sizes = {path: path.stat().st_size for path in folder.glob('*')}",
    )
    assert all(list(asks_for_what_may_be_gone(fault)) for fault in faults)
    assert not list(asks_for_what_may_be_gone("size = path.stat().st_size; names = list(folder.iterdir())"))


def test_no_code_asks_for_the_status_of_files_that_may_be_gone() -> None:
    found = [
        f"{path.relative_to(REPO)}:{line}" for path in SOURCES for line in asks_for_what_may_be_gone(path.read_text())
    ]
    assert len(SOURCES) > 500
    assert found == [], "use flink_jobs.changing_folders"
