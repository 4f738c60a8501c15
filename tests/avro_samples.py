"""Avro records of transactions, written by fastavro: the other implementation that the decoder is compared with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro

from flink_jobs.contracts.avro_schemas import reader_schema
from flink_jobs.core.parsing.avro import WriterSchemas
from flink_jobs.core.parsing.avro_resolution import resolved
from tests.strategies import CONTRACTS

Schema = dict[str, Any]
READER: str = reader_schema(CONTRACTS["transactions"])
SCHEMA_ID = 7


def our_schema() -> Schema:
    """Return the contract's schema; the caller may change it."""
    schema: Schema = json.loads(READER)
    return schema


def body(document: Mapping[str, Any], schema: Schema) -> bytes:
    """Return the encoding of a document under a writer's schema."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), dict(document))
    return buffer.getvalue()


def framed(encoded: bytes, schema_id: int = SCHEMA_ID) -> bytes:
    """Return a record in Confluent's wire format."""
    return b"\0" + schema_id.to_bytes(4, "big") + encoded


def avro(document: Mapping[str, Any], schema: Schema | None = None) -> bytes:
    """Return a document as a record of a writer's schema; default: the contract's."""
    return framed(body(document, schema or our_schema()))


def knowing(schema: Schema, schema_id: int = SCHEMA_ID) -> WriterSchemas:
    """Return the parser of a job that knows one writer's schema."""
    schemas = WriterSchemas()
    schemas.use({schema_id: resolved(json.dumps(schema), READER)})
    return schemas
