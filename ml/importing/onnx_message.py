"""The part of ONNX's file format that a tree model needs, for the protobuf library.

Source: ``onnx.proto`` of ONNX (field names and numbers, which ONNX never changes). The protobuf library skips all other
fields, so files of later ONNX releases can be read, too.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_ONE, _MANY = 1, 3  # LABEL_OPTIONAL, LABEL_REPEATED
_FLOAT, _INT64, _INT32, _STRING, _MESSAGE, _BYTES = 2, 3, 5, 9, 11, 12  # FieldDescriptorProto.Type
_FIELDS: Final[dict[str, list[tuple[str, int, int, int, str]]]] = {
    "ModelProto": [
        ("producer_name", 2, _STRING, _ONE, ""),
        ("producer_version", 3, _STRING, _ONE, ""),
        ("graph", 7, _MESSAGE, _ONE, "GraphProto"),
    ],
    "GraphProto": [
        ("node", 1, _MESSAGE, _MANY, "NodeProto"),
        ("input", 11, _MESSAGE, _MANY, "ValueInfoProto"),
        ("output", 12, _MESSAGE, _MANY, "ValueInfoProto"),
    ],
    "NodeProto": [
        ("input", 1, _STRING, _MANY, ""),
        ("output", 2, _STRING, _MANY, ""),
        ("op_type", 4, _STRING, _ONE, ""),
        ("attribute", 5, _MESSAGE, _MANY, "AttributeProto"),
        ("domain", 7, _STRING, _ONE, ""),
    ],
    "AttributeProto": [
        ("name", 1, _STRING, _ONE, ""),
        ("s", 4, _BYTES, _ONE, ""),
        ("floats", 7, _FLOAT, _MANY, ""),
        ("ints", 8, _INT64, _MANY, ""),
        ("strings", 9, _BYTES, _MANY, ""),
    ],
    "ValueInfoProto": [("name", 1, _STRING, _ONE, ""), ("type", 2, _MESSAGE, _ONE, "TypeProto")],
    "TypeProto": [("tensor_type", 1, _MESSAGE, _ONE, "TensorType")],
    "TensorType": [("elem_type", 1, _INT32, _ONE, "")],
}
_PACKAGE: Final = "streamflow_onnx"


def _message_class() -> Any:  # noqa: ANN401 - protobuf makes the class when the program runs
    file = descriptor_pb2.FileDescriptorProto(name="streamflow_onnx.proto", package=_PACKAGE)
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".{_PACKAGE}.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelProto"))


def parse_onnx(content: bytes) -> Any:  # noqa: ANN401 - as above
    """Return the ``ModelProto`` of a file.

    Raises:
        ValueError: the file is no ONNX model.
    """
    message = _message_class()()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if not message.graph.node:
        raise ValueError("it has no nodes")
    return message
