"""Limits of size: functions and modules that a reader can hold in view."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.markdown import REPO

FUNCTION_LINES = 60
MODULE_LINES = 300
SOURCES = sorted(
    [*REPO.glob("api/**/*.py"), *REPO.glob("flink_jobs/**/*.py"), *REPO.glob("ml/**/*.py"), *REPO.glob("dags/*.py")]
)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(REPO)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_no_function_is_longer_than_the_limit() -> None:
    sizes = [size for path in SOURCES for size in functions(path)]
    assert len(sizes) > 1000
    assert [f"{name}: {lines} lines" for name, lines in sizes if lines > FUNCTION_LINES] == []


def test_no_module_is_longer_than_the_limit() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert len(sizes) > 200
    assert [f"{path.relative_to(REPO)}: {lines} lines" for path, lines in sizes.items() if lines > MODULE_LINES] == []
