"""The first check of every JSON document of a contract."""

from typing import Any

import orjson


def contract_object(payload: bytes | None, version: int) -> dict[str, Any] | str:
    """Return the JSON object in some bytes, or why they are none of a schema version; the text quotes no value."""
    try:
        document = orjson.loads(payload or b"")
    except ValueError:
        document = None
    if type(document) is not dict:
        return "not a JSON object"
    if document.get("schema_version") != version:
        return f"schema_version must be {version}"
    return document
