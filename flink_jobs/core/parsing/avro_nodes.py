"""The nodes of a writer's Avro schema: ``avro_resolution`` makes them, ``avro`` walks them for every record."""

from typing import Final

NULL: Final = 0
BOOLEAN: Final = 1
INT: Final = 2
LONG: Final = 3
FLOAT: Final = 4
DOUBLE: Final = 5
TEXT: Final = 6
"""Bytes or a string: both have the same encoding."""
FIXED: Final = 7
ENUM: Final = 8
ARRAY: Final = 9
MAP: Final = 10
UNION: Final = 11
RECORD: Final = 12
MISMATCH: Final = 13
"""A branch of the writer's union that the contract does not allow."""


class Node:
    """A part of a writer's schema, resolved for the contract's schema."""

    def __init__(self, kind: int) -> None:
        """Make a node without parts."""
        self.kind = kind
        self.size = 0
        """Bytes of a fixed, or number of symbols of an enum."""
        self.is_float = False
        """An integer is returned as a float."""
        self.parts: list[Node] = []
        """Fields of a record, branches of a union, or the items of an array or map."""
        self.labels: list[str] = []
        """The writer's names of the fields of a record."""
        self.names: list[str | None] = []
        """The contract's names of the fields of a record; ``None`` for a field to skip."""
        self.defaults: dict[str, object] = {}
        """Fields of the contract that the writer does not have."""
        self.text = ""
        """Of a mismatch: what is wrong."""
