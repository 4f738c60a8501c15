"""Parses Avro transactions beside JSON ones: ``WriterSchemas.parse`` looks at the first byte.

An Avro record has the wire format of Confluent's clients: byte 0, the id of the writer's schema (4 bytes, big-endian),
then the encoded record. ``avro_resolution`` resolves each writer's schema for the contract's schema once, into
a tree of nodes. This module walks the tree for every record, so it is compiled. The fields then pass the same checks as
those of a JSON document, with the same reasons.
"""

import math
from collections.abc import Mapping
from struct import Struct
from typing import Final

from flink_jobs.core.parsing.avro_nodes import (
    ARRAY,
    BOOLEAN,
    DOUBLE,
    ENUM,
    FIXED,
    FLOAT,
    INT,
    LONG,
    MAP,
    NULL,
    RECORD,
    TEXT,
    UNION,
    Node,
)
from flink_jobs.core.parsing.json_faults import MAX_NESTING, TOO_DEEP
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES, checked_transaction, oversize, parse_transaction
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection, Transaction

MAGIC: Final = 0
HEAD_BYTES: Final = 5
MAX_SKIPPED: Final = 65_536
"""Items and records in fields that the contract does not have; they may take no byte, so bytes are no limit."""

_INT_END: Final = 1 << 31
_LONG_END: Final = 1 << 64
_MOST_SHIFT: Final = 63
_FLOAT: Final = Struct("<f")
_DOUBLE: Final = Struct("<d")


class AvroDecodeError(Exception):
    """The bytes are not a record of the schema."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        """Set the reason of the dead letter and the detail, which never holds a value."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _malformed(detail: str) -> AvroDecodeError:
    return AvroDecodeError(DeadLetterReason.MALFORMED_AVRO, detail)


class _Cursor:
    """Reads the encoding of one record from front to back."""

    def __init__(self, data: bytes, at: int) -> None:
        """Begin at a byte."""
        self.data = data
        self.at = at
        self.label = ""
        """The field that is being read, for the detail of a fault."""
        self._items = 0

    def long(self) -> int:
        """Return the next integer: base 128, the least significant group first, zigzag.

        Raises:
            AvroDecodeError: it is cut, or has more than 64 bits.
        """
        data, at = self.data, self.at
        end = len(data)
        value = shift = 0
        while True:
            if at >= end:
                raise _malformed("the record is cut off")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that announces another byte
                break
            shift += 7
            if shift > _MOST_SHIFT:
                raise _malformed("an integer has more than 64 bits")
        if value >= _LONG_END:
            raise _malformed("an integer has more than 64 bits")
        self.at = at
        return (value >> 1) ^ -(value & 1)

    def _int(self) -> int:
        value = self.long()
        if not -_INT_END <= value < _INT_END:
            raise _malformed("an int has more than 32 bits")
        return value

    def advance(self, size: int) -> int:
        """Skip bytes; return where they begin.

        Raises:
            AvroDecodeError: the record ends before.
        """
        if size < 0:
            raise _malformed("a length is negative")
        at = self.at
        if size > len(self.data) - at:
            raise _malformed("the record is cut off")
        self.at = at + size
        return at

    def read(self, node: Node) -> object:  # noqa: PLR0911 - one branch for each kind
        """Return the value of a node.

        Raises:
            AvroDecodeError: the bytes are not of this node.
            UnicodeDecodeError: a string is not UTF-8.
        """
        kind = node.kind
        if kind == UNION:
            return self.read(self._branch(node))
        if kind == TEXT:
            at = self.advance(self.long())
            return self.data[at : self.at].decode()
        if kind == LONG:
            value = self.long()
            return float(value) if node.is_float else value
        if kind == INT:
            value = self._int()
            return float(value) if node.is_float else value
        if kind == NULL:
            return None
        if kind == DOUBLE:
            return _finite(_DOUBLE.unpack_from(self.data, self.advance(8))[0])
        if kind == FLOAT:
            return _finite(_FLOAT.unpack_from(self.data, self.advance(4))[0])
        if kind == RECORD:
            return self.record(node)
        raise AvroDecodeError(DeadLetterReason.WRONG_TYPE, node.text)

    def record(self, node: Node) -> dict[str, object]:
        """Return the fields of a record that the contract has; raises as ``read`` does."""
        document = dict(node.defaults)
        labels, names = node.labels, node.names
        for index, part in enumerate(node.parts):
            self.label = labels[index]
            name = names[index]
            if name is None:
                self.skip(part, 1)
            else:
                document[name] = self.read(part)
        return document

    def skip(self, node: Node, depth: int) -> None:  # noqa: C901, PLR0912 - one branch for each kind
        """Skip a value that the contract does not have.

        Raises:
            AvroDecodeError: the bytes are not of this node, or nest too deep.
        """
        kind = node.kind
        if depth > MAX_NESTING:
            raise AvroDecodeError(DeadLetterReason.TOO_DEEP, TOO_DEEP.detail)
        if kind == UNION:
            self.skip(self._branch(node), depth + 1)
        elif kind == TEXT:
            self.advance(self.long())
        elif kind == LONG:
            self.long()
        elif kind == INT:
            self._int()
        elif kind == ENUM:
            if not 0 <= self.long() < node.size:
                raise _malformed("an enum has no such symbol")
        elif kind == RECORD:
            self._count(1)
            for part in node.parts:
                self.skip(part, depth + 1)
        elif kind == ARRAY or kind == MAP:  # noqa: PLR1714, SIM109 - compiled, a set would be slower
            self._skip_blocks(node, depth + 1)
        elif kind == BOOLEAN:
            if self.data[self.advance(1)] > 1:
                raise _malformed("a boolean is neither 0 nor 1")
        elif kind == DOUBLE:
            self.advance(8)
        elif kind == FLOAT:
            self.advance(4)
        elif kind == FIXED:
            self.advance(node.size)

    def _skip_blocks(self, node: Node, depth: int) -> None:
        """Skip the blocks of an array or a map; a negative count announces the bytes of its block."""
        while True:
            count = self.long()
            if count == 0:
                return
            if count < 0:
                self.advance(self.long())
                continue
            self._count(count)
            for _ in range(count):
                if node.kind == MAP:
                    self.advance(self.long())
                self.skip(node.parts[0], depth)

    def _count(self, items: int) -> None:
        self._items += items
        if self._items > MAX_SKIPPED:
            raise _malformed(f"fields that the contract does not have hold more than {MAX_SKIPPED} items")

    def _branch(self, node: Node) -> Node:
        branch = self.long()
        if not 0 <= branch < len(node.parts):
            raise _malformed("a union has no such branch")
        return node.parts[branch]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise AvroDecodeError(DeadLetterReason.NON_FINITE_NUMBER, "a number is NaN or infinite")
    return value


class WriterSchemas:
    """The known writers' schemas by id, resolved for the contract. Another thread may replace them at any time."""

    def __init__(self) -> None:
        """Begin without a schema: every Avro record has an unknown one."""
        self._known: dict[int, Node | str] = {}

    def use(self, known: Mapping[int, Node | str]) -> None:
        """Use other schemas from the next record on; a text is the reason why the contract cannot read a schema."""
        self._known = dict(known)

    def ids(self) -> list[int]:
        """Return the ids of the known schemas."""
        return sorted(self._known)

    def parse(  # noqa: PLR0911 - one for each reason
        self, raw: bytes | None, now_ms: int
    ) -> Transaction | Rejection:
        """Parse one transaction, JSON or Avro; see ``parse_transaction``. No bytes raise an exception."""
        if not raw or raw[0] != MAGIC:
            return parse_transaction(raw, now_ms)
        size = len(raw)
        if size > MAX_PAYLOAD_BYTES:
            return oversize(size)
        if size < HEAD_BYTES:
            return Rejection(DeadLetterReason.MALFORMED_AVRO, "the record ends before the id of its schema")
        schema_id = int.from_bytes(raw[1:HEAD_BYTES], "big")
        node = self._known.get(schema_id)
        if node is None:
            return Rejection(
                DeadLetterReason.UNKNOWN_SCHEMA,
                f"the record is Avro of schema {schema_id}, which the job does not have: register it, then redrive",
            )
        if isinstance(node, str):
            return Rejection(DeadLetterReason.INCOMPATIBLE_SCHEMA, f"schema {schema_id}: {node}")
        cursor = _Cursor(raw, HEAD_BYTES)
        try:
            document = cursor.record(node)
        except AvroDecodeError as fault:
            if fault.reason is DeadLetterReason.WRONG_TYPE:  # it names the field
                return Rejection(fault.reason, fault.detail)
            return Rejection(fault.reason, f"{fault.detail}, in the field {cursor.label} of schema {schema_id}")
        except UnicodeDecodeError:
            return Rejection(
                DeadLetterReason.INVALID_UTF8, f"invalid UTF-8 in the field {cursor.label} of schema {schema_id}"
            )
        if cursor.at < size:
            rest = size - cursor.at
            return Rejection(
                DeadLetterReason.MALFORMED_AVRO, f"{rest} bytes follow the record: it is not of schema {schema_id}"
            )
        return checked_transaction(document, now_ms)


def why_key_differs(payload: bytes | None) -> str:
    """Return why the routing key of a record is not its customer id, for the dead letter."""
    if payload and payload[0] == MAGIC:
        return "an Avro record is routed by its message key, which must be its customer_id as UTF-8 text"
    return (
        "the record was routed by a key that is not its customer_id; check whether the document has customer_id twice"
    )
