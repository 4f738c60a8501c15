"""Reads hand-written YAML files: typed access to the keys, and errors that say what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

try:
    from yaml import CSafeLoader
except ImportError:  # PyYAML was built without it
    from yaml import SafeLoader as CSafeLoader  # type: ignore[assignment]

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TYPE_NAMES = {str: "text", int: "a whole number", bool: "true or false", dict: "a mapping", list: "a list"}


LONGEST_SHOWN = 60


class DocumentError(UserError):
    """A YAML file is invalid; the message gives file, key, problem and remedy."""

    def __init__(self, path: Path, where: str, problem: str, remedy: str) -> None:
        """Build the message from the file, the dotted key, what is wrong and what to do."""
        place = f"{path}: {where}" if where else str(path)
        super().__init__(f"{place} {problem}", remedy)
        self.path = path
        self.where = where


class Section:
    """One mapping of a YAML file; it records which keys were read.

    Call ``close()`` after reading: a key that was not read is a misspelling.
    """

    def __init__(self, path: Path, where: str, values: object) -> None:
        """Wrap the mapping ``values`` at the dotted key ``where`` of the file ``path``."""
        self.path = path
        self.where = where
        if not isinstance(values, dict):
            raise self.error("", f"should be a mapping but is {describe(values)}", "write `key: value` lines here")
        self._values: dict[str, Any] = {str(key): value for key, value in values.items()}
        self._asked: set[str] = set()

    def error(self, key: str, problem: str, remedy: str) -> DocumentError:
        """Return (not raise) an error about ``key`` of this section."""
        where = ".".join(part for part in (self.where, key) if part)
        return DocumentError(self.path, where, problem, remedy)

    def has(self, key: str) -> bool:
        """Return whether ``key`` is present and not null."""
        self._asked.add(key)
        return self._values.get(key) is not None

    def raw(self, key: str) -> Any:  # noqa: ANN401 - a YAML value has no narrower type
        """Return the value of ``key``, or ``None``."""
        self._asked.add(key)
        return self._values.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """Return the text at ``key``; without ``default`` the key is required and must not be empty."""
        value = self._typed(key, str, default)
        if not value.strip() and default is None:
            raise self.error(key, "is empty", "write at least one word")
        return str(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return the whole number at ``key``."""
        return int(self._typed(key, int, default))

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """Return the boolean at ``key``."""
        return bool(self._typed(key, bool, default))

    def strings(self, key: str) -> tuple[str, ...]:
        """Return the list of texts at ``key``; an absent key is an empty list."""
        items = self._typed(key, list, [])
        for number, item in enumerate(items):
            if not isinstance(item, str):
                raise self.error(f"{key}[{number}]", f"should be text but is {describe(item)}", "quote it")
        return tuple(items)

    def section(self, key: str) -> Section:
        """Return the mapping at ``key`` as a section."""
        return Section(self.path, f"{self.where}.{key}".lstrip("."), self._typed(key, dict, None))

    def sections(self, key: str) -> Iterator[Section]:
        """Yield every mapping of the list at ``key``; an absent key yields nothing."""
        for number, item in enumerate(self._typed(key, list, [])):
            yield Section(self.path, f"{self.where}.{key}[{number}]".lstrip("."), item)

    def names(self) -> tuple[str, ...]:
        """Return all keys of the section, in the order of the file."""
        return tuple(self._values)

    def close(self) -> None:
        """Raise a ``DocumentError`` for the first key that was not read."""
        for key in self._values:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                remedy = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(sorted(self._asked))}"
                raise self.error(key, "is not a known key", remedy)

    def _typed(self, key: str, kind: type, default: object) -> Any:  # noqa: ANN401 - checked here, narrowed above
        self._asked.add(key)
        value = self._values.get(key)
        if value is None:
            if default is None:
                raise self.error(key, "is missing", f"add it: {TYPE_NAMES[kind]}")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, f"should be {TYPE_NAMES[kind]} but is {describe(value)}", "correct the value")
        return value


def describe(value: object) -> str:
    """Return a YAML value and its type as text for an error message."""
    shown = repr(value)
    if len(shown) > LONGEST_SHOWN:
        shown = f"{shown[:LONGEST_SHOWN]}..."
    return f"{shown} ({type(value).__name__})"


class _UniqueKeys(yaml.constructor.SafeConstructor):
    """Refuses a key that occurs twice: YAML would keep the last value without an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - overrides
        """Return a mapping.

        Raises:
            ConstructorError: a key occurs twice.
        """
        found: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in found:
                    problem = f"the key {key.value!r} occurs twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                found.add(key.value)
        return super().construct_mapping(node, deep)


class _Loader(_UniqueKeys, yaml.SafeLoader):
    """The parser in Python, whose errors say more."""


class _QuickLoader(_UniqueKeys, CSafeLoader):
    """The parser in C: seven times as fast."""


def _load(text: str) -> Any:  # noqa: ANN401 - what a YAML file holds
    """Return the content of a YAML text.

    Raises:
        YAMLError: it is not valid, or a key occurs twice.
    """
    try:
        return yaml.load(text, _QuickLoader)  # noqa: S506 - a safe loader
    except yaml.YAMLError:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def read_document(path: Path) -> Section:
    """Return the YAML mapping in a file.

    Raises:
        DocumentError: the file cannot be read or is not a YAML mapping.
    """
    try:
        values = _load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DocumentError(path, "", "does not exist", "check the path") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise DocumentError(
            path, "", f"cannot be read ({cause})", "check that it is a text file you may read"
        ) from cause
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else ""
        problem = getattr(cause, "problem", None) or "is not YAML"
        raise DocumentError(path, where, f"is not valid YAML ({problem})", "fix the syntax") from cause
    return Section(path, "", values)
