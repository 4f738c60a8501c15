"""Resolves a writer's Avro schema for a reader's schema, by the rules of Avro 1.12.

The result is the tree of nodes by which ``avro`` decodes records of this writer. Readers are the generated schemas of
our contracts: records of null, long, double, string, records and unions of them. Writers may have any type.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from flink_jobs.core.parsing import avro_nodes
from flink_jobs.core.parsing.avro_nodes import Node

MAX_SCHEMA_BYTES: Final = 1_000_000
_PRIMITIVES: Final = {
    "null": avro_nodes.NULL,
    "boolean": avro_nodes.BOOLEAN,
    "int": avro_nodes.INT,
    "long": avro_nodes.LONG,
    "float": avro_nodes.FLOAT,
    "double": avro_nodes.DOUBLE,
    "bytes": avro_nodes.TEXT,
    "string": avro_nodes.TEXT,
}
_READABLE_AS: Final = {
    "null": frozenset({"null"}),
    "long": frozenset({"int", "long"}),
    "double": frozenset({"int", "long", "float", "double"}),
    "string": frozenset({"string", "bytes"}),
}
"""By type of the reader: the writer's types that it reads."""
FIELDS_OF_VERSION_2: Final = frozenset({"schema_version", "terminal", "device", "card", "ip"})
"""Fields that version 2 of the transactions added."""
_MANY: Final = {"array": (avro_nodes.ARRAY, "items"), "map": (avro_nodes.MAP, "values")}
_EXPECTED: Final = {"null": "null", "long": "an integer", "double": "a number", "string": "a string"}


class IncompatibleSchemaError(ValueError):
    """A reader cannot read a writer's records; the message says why, and holds only names of schemas."""


class _Names:
    """A schema with its named types, which may refer to each other."""

    def __init__(self, text: str | bytes) -> None:
        """Parse a schema.

        Raises:
            IncompatibleSchemaError: the text is not JSON.
        """
        if len(text) > MAX_SCHEMA_BYTES:
            raise IncompatibleSchemaError(f"the schema has more than {MAX_SCHEMA_BYTES} bytes")
        try:
            self.root: Any = orjson.loads(text)
        except ValueError:
            raise IncompatibleSchemaError("the schema is not JSON") from None
        self._types: dict[str, tuple[dict[str, Any], str]] = {}
        self._collect(self.root, "")

    def look_up(self, schema: object, space: str) -> tuple[Any, str]:
        """Return a schema and its namespace; a name becomes the type that it refers to.

        Raises:
            IncompatibleSchemaError: no type has this name.
        """
        while isinstance(schema, dict) and isinstance(schema.get("type"), dict | list) and "name" not in schema:
            schema = schema["type"]
        if isinstance(schema, dict) and schema.get("type") in _PRIMITIVES:
            schema = schema["type"]  # a logical type is read as its type
        if not isinstance(schema, str) or schema in _PRIMITIVES:
            return schema, _own_space(schema, space)
        found = self._types.get(schema if "." in schema or not space else f"{space}.{schema}") or self._types.get(
            schema
        )
        if found is None:
            raise IncompatibleSchemaError("the schema names a type that it does not define")
        return found

    def _collect(self, schema: object, space: str) -> None:
        """Find the named types."""
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch, space)
        if not isinstance(schema, dict):
            return
        name = schema.get("name")
        if isinstance(name, str) and schema.get("type") in {"record", "error", "enum", "fixed"}:
            space = _own_space(schema, space)
            full = name if "." in name or not space else f"{space}.{name}"
            if full in self._types:
                raise IncompatibleSchemaError("the schema defines a type twice")
            self._types[full] = (schema, space)
            for field in schema.get("fields", ()):
                self._collect(field["type"], space)
        else:
            for part in ("type", "items", "values"):
                self._collect(schema.get(part), space)


def resolve(writer: str | bytes, reader: str | bytes, *, is_strict: bool = False) -> Node:
    """Return the tree by which records of a writer are decoded for a reader.

    Args:
        writer: the writer's schema, as JSON.
        reader: the reader's, whose root is a record.
        is_strict: also refuse a writer of which the reader reads only some values, such as a required string that the
            writer may write as null.

    Raises:
        IncompatibleSchemaError: the reader reads no record of the writer, or the writer's schema is invalid.
    """
    try:
        names = _Names(writer)
        resolution = _Resolution(names, _Names(reader), is_strict=is_strict)
        node = resolution.readable(names.root, "", resolution.reader.root, "", "the record")
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise IncompatibleSchemaError("the schema is not valid Avro") from None
    if node.kind != avro_nodes.RECORD:
        raise IncompatibleSchemaError("the schema is not a record")
    return node


def resolved(writer: str, reader: str) -> Node | str:
    """Return the tree of ``resolve``, or the reason why the reader cannot read the writer."""
    try:
        return resolve(writer, reader)
    except IncompatibleSchemaError as problem:
        return str(problem)


class _Resolution:
    """One writer and one reader."""

    def __init__(self, writer: _Names, reader: _Names, *, is_strict: bool) -> None:
        self._writer = writer
        self.reader = reader
        self._is_strict = is_strict
        self._skipped: dict[int, Node] = {}

    def readable(self, written: object, space: str, wanted: object, wanted_space: str, field: str) -> Node:
        """Return the node of a value that the reader wants.

        Raises:
            IncompatibleSchemaError: no value of the writer can be read.
        """
        written, space = self._writer.look_up(written, space)
        wanted, wanted_space = self.reader.look_up(wanted, wanted_space)
        if isinstance(written, list):
            return self._union(written, space, wanted, wanted_space, field)
        if isinstance(wanted, list):
            return self._one_of(written, space, wanted, wanted_space, field)
        kind = type_name(written)
        is_record = type_name(wanted) == "record" and kind in {"record", "error"}
        if is_record and isinstance(written, dict) and isinstance(wanted, dict):
            return self._record(written, space, wanted, wanted_space, field)
        if isinstance(wanted, str) and kind in _READABLE_AS.get(wanted, ()):
            node = Node(_PRIMITIVES[kind])
            node.is_float = wanted == "double" and kind in {"int", "long"}
            return node
        raise IncompatibleSchemaError(f"{field} must be {_expected(wanted)}, not an Avro {kind}")

    def _union(self, branches: list[Any], space: str, wanted: object, wanted_space: str, field: str) -> Node:
        node, problem = Node(avro_nodes.UNION), "a union has no branches"
        for branch in branches:
            try:
                part = self.readable(branch, space, wanted, wanted_space, field)
            except IncompatibleSchemaError as refusal:
                if self._is_strict:
                    raise
                part, problem = Node(avro_nodes.MISMATCH), str(refusal)
                part.text = problem
            node.parts.append(part)
        if all(part.kind == avro_nodes.MISMATCH for part in node.parts):
            raise IncompatibleSchemaError(problem)
        return node

    def _one_of(self, written: object, space: str, wanted: list[Any], wanted_space: str, field: str) -> Node:
        """Return the node for the first branch of the reader's union that reads the value."""
        problem = f"{field}: a union has no branches"
        for branch in sorted(wanted, key=lambda item: type_name(item) != type_name(written)):
            try:
                return self.readable(written, space, branch, wanted_space, field)
            except IncompatibleSchemaError as refusal:
                if branch != "null":
                    problem = str(refusal)
        raise IncompatibleSchemaError(problem)

    def _record(
        self, written: dict[str, Any], space: str, wanted: dict[str, Any], wanted_space: str, field: str
    ) -> Node:
        if _short(written["name"]) not in {_short(name) for name in (wanted["name"], *wanted.get("aliases", ()))}:
            raise IncompatibleSchemaError(
                f"{field} is an Avro record {_short(written['name'])}; its name must be {_short(wanted['name'])}"
            )
        node = Node(avro_nodes.RECORD)
        ours = {name: item for item in wanted["fields"] for name in (item["name"], *item.get("aliases", ()))}
        read: set[str] = set()
        for item in written["fields"]:
            own = ours.get(item["name"])
            node.labels.append(item["name"])
            if own is None or own["name"] in read or self._is_of_version_1(item, space, own, wanted_space):
                node.names.append(None)
                node.parts.append(self.skipped(item["type"], space))
                continue
            read.add(own["name"])
            node.names.append(own["name"])
            node.parts.append(self.readable(item["type"], space, own["type"], wanted_space, own["name"]))
        for own in wanted["fields"]:
            if own["name"] not in read:
                if "default" not in own:
                    raise IncompatibleSchemaError(f"the schema has no field {own['name']}, which is required")
                if own["default"] is not None:
                    node.defaults[own["name"]] = own["default"]
        return node

    def _is_of_version_1(self, item: dict[str, Any], space: str, own: dict[str, Any], wanted_space: str) -> bool:
        """Return whether a writer's field only has the name of one that version 2 added: it has another type.

        Version 1 lets a producer send additional fields of any type; such a field is skipped, as in version 1.
        """
        if self._is_strict or own["name"] not in FIELDS_OF_VERSION_2:
            return False
        strict = _Resolution(self._writer, self.reader, is_strict=True)
        try:
            strict.readable(item["type"], space, own["type"], wanted_space, own["name"])
        except IncompatibleSchemaError:
            return True
        return False

    def skipped(self, written: object, space: str) -> Node:
        """Return the node of a value that the reader does not have. A type that contains itself has one node."""
        written, space = self._writer.look_up(written, space)
        known = self._skipped.get(id(written)) if isinstance(written, dict) else None
        if known is not None:
            return known
        kind = type_name(written)
        if kind in _PRIMITIVES:
            return Node(_PRIMITIVES[kind])
        if isinstance(written, list):
            node = Node(avro_nodes.UNION)
            node.parts = [self.skipped(branch, space) for branch in written]
            return node
        if not isinstance(written, dict):
            raise IncompatibleSchemaError("the schema is not valid Avro")
        node = self._skipped[id(written)] = _shell(kind, written)
        if kind in _MANY:
            node.parts = [self.skipped(written[_MANY[kind][1]], space)]
        elif node.kind == avro_nodes.RECORD:
            node.parts = [self.skipped(item["type"], space) for item in written["fields"]]
        return node


def _shell(kind: str, written: Mapping[str, Any]) -> Node:
    """Return the node of a complex type, still without its parts."""
    if kind in _MANY:
        return Node(_MANY[kind][0])
    if kind in {"record", "error"}:
        return Node(avro_nodes.RECORD)
    if kind not in {"fixed", "enum"}:
        raise IncompatibleSchemaError("the schema has a type that Avro does not have")
    node = Node(avro_nodes.FIXED if kind == "fixed" else avro_nodes.ENUM)
    node.size = int(written["size"]) if kind == "fixed" else len(written["symbols"])
    return node


def type_name(schema: object) -> str:
    """Return the name of a schema's type; ``union`` for a union.

    >>> type_name({"type": "record", "name": "A", "fields": []}), type_name(["null", "string"]), type_name("long")
    ('record', 'union', 'long')
    """
    if isinstance(schema, list):
        return "union"
    if isinstance(schema, dict):
        return str(schema["type"])
    return str(schema)


def _own_space(schema: object, space: str) -> str:
    """Return the namespace of the names inside a schema: its own one, or that of the schema around it."""
    if not isinstance(schema, dict) or "name" not in schema:
        return space
    outer = schema["name"].rpartition(".")[0]
    return str(outer or schema.get("namespace", space))


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _expected(wanted: object) -> str:
    return _EXPECTED.get(str(wanted), "a record") if isinstance(wanted, str) else "a record"
