"""Changes fields of a JSON message, and lists the differences for the audit."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import orjson

_ABSENT = object()


def with_fields(payload: bytes, assignments: Iterable[str]) -> bytes:
    """Return a JSON object with fields set.

    Args:
        payload: a JSON object.
        assignments: ``name=value`` or ``outer.inner=value``. A value that is not JSON is text; an empty value removes
            the field.

    Raises:
        ValueError: the payload is not a JSON object, or an assignment is malformed.
    """
    document = _object(payload)
    if document is None:
        raise ValueError("the payload is not a JSON object, so no field can be set")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *outer, name = path.split(".")
        if not equals or not name:
            raise ValueError(f"{assignment!r} is not name=value")
        place: Any = document
        for step in outer:
            place = place.setdefault(step, {})
            if type(place) is not dict:
                raise ValueError(f"{step} in {path} is not a JSON object")
        if text:
            place[name] = _value(text)
        else:
            place.pop(name, None)
    return orjson.dumps(document)


def changes_between(before: bytes, after: bytes) -> list[dict[str, Any]]:
    """Return the fields that differ, each with its values ``from`` and ``to``; an absent value is left out.

    Where one of the payloads is not a JSON object, the result holds the SHA-256 of both instead.
    """
    old, new = _object(before), _object(after)
    if old is None or new is None:
        return [{"path": "", "from_sha256": sha256(before).hexdigest(), "to_sha256": sha256(after).hexdigest()}]
    left, right = dict(_leaves(old)), dict(_leaves(new))
    changes = []
    for path in sorted(left.keys() | right.keys()):
        was, now = left.get(path, _ABSENT), right.get(path, _ABSENT)
        if _same_json(was, now):
            continue
        change: dict[str, Any] = {"path": path}
        if was is not _ABSENT:
            change["from"] = was
        if now is not _ABSENT:
            change["to"] = now
        changes.append(change)
    return changes


def _same_json(one: object, other: object) -> bool:
    """Return whether two values are the same JSON; 1, 1.0 and true are three different values."""
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return orjson.dumps(one) == orjson.dumps(other)


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(payload)
    except ValueError:
        return None
    return document if type(document) is dict else None


def _leaves(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if type(value) is dict and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return orjson.loads(text)
    except ValueError:
        return text
