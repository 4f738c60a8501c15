"""The columns of an archive table, derived from the type of its document.

The types in ``flink_jobs.core.documents`` agree with the contracts (a test compares them), so a column is defined once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

Columns = dict[str, str]
"""SQL type of each column by name."""

JSON: Final = "jsonb"
_SQL_TYPE: Final = {str: "text", int: "bigint", float: "double precision", bool: "boolean"}
_NARROW: Final = {"schema_version": "integer", "source_partition": "integer"}
"""Columns of 32 bits; every other whole number has 64."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of a column is in the document, if it is not in the field of the same name."""

    path: tuple[str, ...]
    """Field, and field in the field."""
    default: str | int | None = None
    """Value of the column for a document without the field, or with ``null`` in it."""

    def sql(self, kind: str) -> str:
        """Return the SQL expression of the value as ``kind``, over ``doc``, the message as ``jsonb``."""
        text = f"doc ->> '{self.path[0]}'" if len(self.path) == 1 else f"doc #>> '{{{','.join(self.path)}}}'"
        value = text if kind == "text" else f"({text})::{kind}"
        if self.default is None:
            return value
        return f"coalesce({value}, {self.default!r})"


def columns_of(document: type, *, without: tuple[str, ...] = (), origins: dict[str, Origin] | None = None) -> Columns:
    """Return the columns of a document's table: one for each field, and those whose values come from elsewhere.

    Args:
        document: the ``TypedDict`` of the document.
        without: fields that have no column of their own name.
        origins: columns whose values are not in the field of the same name.
    """
    columns = {name: _sql_type(name, hint) for name, hint in get_type_hints(document).items() if name not in without}
    for name, origin in (origins or {}).items():
        columns[name] = _sql_type(name, _hint_at(document, origin.path))
    return columns


def _hint_at(document: type, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - a type annotation
    hint: Any = document
    for field in path:
        hint = get_type_hints(hint)[field]
    return hint


def _sql_type(name: str, hint: Any) -> str:  # noqa: ANN401
    if name in _NARROW:
        return _NARROW[name]
    options = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    ((kind),) = {_kind(option) for option in options if option is not NoneType}
    return kind


def _kind(option: Any) -> str:  # noqa: ANN401
    if get_origin(option) is Literal:
        (option,) = {type(value) for value in get_args(option)}
    if isinstance(option, type) and issubclass(option, StrEnum):
        return "text"
    return _SQL_TYPE.get(option, JSON)
