"""What holds of Avro parsing for any bytes, and for any document that fastavro writes."""

from __future__ import annotations

import copy
import io
from typing import Any

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.parsing.transactions import checked_transaction
from flink_jobs.core.transaction import Rejection, Transaction
from tests.avro_samples import Schema, avro, body, framed, knowing, our_schema
from tests.strategies import NOW_MS, Document, as_transaction, documents

KNOWN = knowing(our_schema())
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
longs = st.integers(-(2**63), 2**63 - 1)
degrees = st.floats(allow_nan=False, allow_infinity=False)
any_documents: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {"transaction_id": texts, "customer_id": texts, "amount_minor": longs, "currency": texts, "event_time_ms": longs},
    optional={
        **{name: st.none() | texts for name in ("merchant", "category", "channel", "country")},
        "location": st.none() | st.fixed_dictionaries({"lat": degrees, "lon": degrees}),
    },
)
"""Documents that the Avro schema allows, and hardly ever the contract."""
ADDED: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
    ("long", longs),
    ("boolean", st.booleans()),
    ("float", st.floats(width=32)),
    (["null", "bytes"], st.none() | st.binary(max_size=9)),
    ({"type": "array", "items": "string"}, st.lists(texts, max_size=3)),
    ({"type": "map", "values": ["null", "double"]}, st.dictionaries(texts, st.none() | degrees, max_size=3)),
    ({"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}, st.sampled_from(["RED", "BLUE"])),
    ({"type": "fixed", "name": "Digest", "size": 3}, st.binary(min_size=3, max_size=3)),
)


@st.composite
def evolved(draw: st.DrawFn) -> tuple[Schema, Document]:
    """A writer's schema that differs from the contract's by fields, their order and types, and a document of it."""
    schema, document = our_schema(), dict(draw(any_documents))
    fields = [field for field in schema["fields"] if "default" not in field or draw(st.booleans())]
    for number in range(draw(st.integers(0, 3))):
        kind, values = draw(st.sampled_from(ADDED))
        if isinstance(kind, dict) and "name" in kind:
            kind = {**kind, "name": f"{kind['name']}{number}"}
        fields.append({"name": f"added_{number}", "type": kind})
        document[f"added_{number}"] = draw(values)
    for field in fields:
        if field["type"] == "string" and draw(st.booleans()):
            field["type"] = draw(st.sampled_from((["null", "string"], ["string", "long"])))
    schema["fields"] = draw(st.permutations(fields))
    return schema, {key: value for key, value in document.items() if key in {field["name"] for field in fields}}


@given(documents)
def test_a_valid_document_is_the_same_transaction_in_avro(document: Document) -> None:
    floats = copy.deepcopy(document)
    if floats.get("location"):
        floats["location"] = {name: float(value) for name, value in floats["location"].items()}
    assert KNOWN.parse(avro(floats), NOW_MS) == as_transaction(floats)


@given(evolved())
def test_every_writer_is_read_as_fastavro_reads_it(case: tuple[Schema, Document]) -> None:
    schema, document = case
    encoded = body(document, schema)
    read = fastavro.schemaless_reader(
        io.BytesIO(encoded), fastavro.parse_schema(copy.deepcopy(schema)), fastavro.parse_schema(our_schema())
    )
    assert isinstance(read, dict)
    assert knowing(schema).parse(framed(encoded), NOW_MS) == checked_transaction(read, NOW_MS)


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    assert isinstance(KNOWN.parse(framed(raw), NOW_MS), Transaction | Rejection)
    assert isinstance(KNOWN.parse(raw, NOW_MS), Transaction | Rejection)


@given(evolved(), st.data())
def test_no_changed_byte_and_no_cut_raises(case: tuple[Schema, Document], data: st.DataObject) -> None:
    schema, document = case
    raw = bytearray(framed(body(document, schema)))
    place = data.draw(st.integers(5, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    schemas = knowing(schema)
    assert isinstance(schemas.parse(bytes(raw), NOW_MS), Transaction | Rejection)
    assert isinstance(schemas.parse(bytes(raw[:place]), NOW_MS), Rejection)
