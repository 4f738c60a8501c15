"""Finds the source text of a module of own features, and checks what it imports and calls.

The text is read once, where a command runs or a job is submitted, and the job graph carries it: every TaskManager runs
exactly this text, and needs no copy of the file. So a module is one file, and imports only what every TaskManager has.
"""

from __future__ import annotations

import ast
import hashlib
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from flink_jobs.core.own_features.declaration import OwnFeatureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_SOURCE_BYTES: Final = 256 * 1024
INTERFACE: Final = "flink_jobs.core.own_features"
ALLOWED: Final = frozenset(
    {
        "__future__", "bisect", "calendar", "cmath", "collections", "dataclasses", "datetime", "decimal", "enum",
        "fractions", "functools", "heapq", "itertools", "math", "numbers", "operator", "re", "statistics", "string",
        "types", "typing", "unicodedata", "zlib",
    }
)  # fmt: skip
"""Modules of the standard library that a module may import: none of them reads a clock, a file, a network or chance."""
_CALLS: Final = frozenset(
    {
        "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "getattr", "globals", "hash", "id", "input",
        "locals", "open", "print", "setattr", "vars",
    }
)  # fmt: skip
"""Built-in functions that are not pure, or whose answer differs between processes."""
_CLOCKS: Final = frozenset({"now", "today", "utcnow"})


class FeatureSource(NamedTuple):
    """The source text of a module."""

    module: str
    """Dotted name, such as ``my_bank.features``."""
    text: str

    @property
    def sha256(self) -> str:
        """Digest of the text, hexadecimal: the version of the module."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_sources(modules: Sequence[str], folder: Path | None) -> tuple[FeatureSource, ...]:
    """Read modules without running them.

    Args:
        modules: dotted names.
        folder: where the first part of each name is; ``None``: on Python's path.

    Raises:
        OwnFeatureError: a module is not found, is a package, is too large, or is not UTF-8.
    """
    return tuple(FeatureSource(module, _text(module, folder)) for module in modules)


def _text(module: str, folder: Path | None) -> str:
    places: Sequence[str] | None = None if folder is None else [str(folder)]
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places) if part.isidentifier() else None
        if spec is None:
            where = "Python's path" if folder is None else str(folder)
            raise OwnFeatureError(f"there is no module {module} in {where}")
        places = spec.submodule_search_locations
        if places is None:
            break
    file = Path(spec.origin) if spec is not None and spec.origin is not None else None
    if places is not None or file is None or file.suffix != ".py" or file.stem != module.rpartition(".")[2]:
        raise OwnFeatureError(f"{module} is not a module in one .py file")
    try:
        content = file.read_bytes()
        text = content.decode()
    except OSError as error:
        raise OwnFeatureError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OwnFeatureError(f"{file} is not UTF-8") from error
    if len(content) > MAX_SOURCE_BYTES:
        raise OwnFeatureError(f"{file} is longer than {MAX_SOURCE_BYTES:,} bytes")
    return text


def check_source(source: FeatureSource) -> ast.Module:
    """Return the parsed text of a module that holds nothing forbidden.

    This catches mistakes. It is no protection against a hostile author: a module runs with the rights of the job.

    Raises:
        OwnFeatureError: the text is not Python, imports a module that is not allowed, or calls what is not pure.
    """
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError) as error:
        raise OwnFeatureError(f"{source.module} is not Python: {error}") from error
    for node in ast.walk(tree):
        problem = _problem(node)
        if problem is not None:
            raise OwnFeatureError(f"{source.module}, line {getattr(node, 'lineno', 0)}: {problem}")
    return tree


def _problem(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return next((f"it may not import {name or '.'}; {_MAY}" for name in _imported(node) if not _may(name)), None)
    if isinstance(node, ast.Global | ast.Nonlocal):
        return "a feature must not change a variable outside of it: it would depend on earlier calls"
    if isinstance(node, ast.Name) and node.id in _CALLS:
        return f"it may not use {node.id}: a feature must be a pure function of its arguments"
    if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        return f"it may not use the private name {node.attr}"
    if isinstance(node, ast.Attribute) and node.attr in _CLOCKS:
        return f"it may not read the clock with {node.attr}; use the event time of the transaction"
    return None


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    else:
        yield "" if node.level else node.module or ""


def _may(name: str) -> bool:
    return name == INTERFACE or name.partition(".")[0] in ALLOWED


_MAY: Final = f"only {INTERFACE} and these: {', '.join(sorted(ALLOWED))}"
