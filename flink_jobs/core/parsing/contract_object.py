"""The first check of every JSON document of a contract."""

from typing import Any

import orjson


def contract_object(payload: bytes | None, *versions: int) -> dict[str, Any] | str:
    """Return the JSON object in some bytes, or why they are none of some schema versions; the text quotes no value."""
    try:
        document = orjson.loads(payload or b"")
    except ValueError:
        document = None
    if type(document) is not dict:
        return "not a JSON object"
    version = document.get("schema_version")
    if type(version) is not int or version not in versions:
        return f"schema_version must be {' or '.join(map(str, versions))}"
    return document
