"""``/docs``: the calls of the API as a page without scripts; it loads nothing from other servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response

from api.console.headers import HEADERS
from api.console.pages import page

if TYPE_CHECKING:
    from collections.abc import Iterator

router = APIRouter()
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_ANSWERED_BY_ALL: Final = frozenset({"401", "403", "413", "429", "503", "504"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call: method and path, what it does, its parameters, its bodies and its errors."""

    method: str
    path: str
    text: str
    parameters: list[dict[str, Any]]
    body: str | None
    answer: str | None
    errors: list[str]


@router.get("/docs", include_in_schema=False)
async def reference(request: Request) -> Response:
    """Return every call and every document of the OpenAPI document."""
    document: dict[str, Any] = request.app.openapi()
    shown = page(
        request, "reference", None, calls=list(calls_of(document)), schemas=document["components"]["schemas"],
        type_of=type_of,
    )  # fmt: skip
    shown.headers.update(HEADERS)
    return shown


def calls_of(document: dict[str, Any]) -> Iterator[Call]:
    """Yield the calls of an OpenAPI document in its order."""
    for path, methods in document["paths"].items():
        for method in _METHODS:
            call = methods.get(method)
            if call is None:
                continue
            statuses = sorted(call["responses"])
            success = next(status for status in statuses if status.startswith("2"))
            yield Call(
                method.upper(),
                path,
                call.get("description") or call.get("summary", ""),
                call.get("parameters", []),
                _schema(call.get("requestBody")),
                _schema(call["responses"][success]),
                [status for status in statuses if not status.startswith("2") and status not in _ANSWERED_BY_ALL],
            )


def type_of(schema: dict[str, Any]) -> str:
    """Return the type of a value in words.

    >>> type_of({"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Case"}}, {"type": "null"}]})
    'list of Case, or null'
    """
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return ", or ".join(type_of(item) for item in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _schema(part: dict[str, Any] | None) -> str | None:
    """Return the name of the JSON document of a request or answer."""
    schema = (part or {}).get("content", {}).get("application/json", {}).get("schema")
    return None if schema is None else type_of(schema)
