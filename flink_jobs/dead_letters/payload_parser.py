"""The parser of payloads for a redrive: JSON, and Avro with the schemas of the configured registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_jobs.contracts.avro_schemas import reader_schema
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.parsing.avro import WriterSchemas
from flink_jobs.core.parsing.avro_resolution import resolved
from flink_jobs.core.parsing.transactions import Parser, parse_transaction
from flink_jobs.errors import UserError
from flink_jobs.kafka.schema_registry import RegistryError, SchemaReader, subject_of

if TYPE_CHECKING:
    from flink_jobs.settings import Settings


def payload_parser(settings: Settings) -> Parser:
    """Return the parser by which a redrive judges payloads.

    Raises:
        UserError: a registry is configured and does not answer: Avro records could not be judged.
    """
    access = settings.registry()
    if access is None:
        return parse_transaction
    contract = load_contracts(settings.topic_prefix)["transactions"]
    try:
        texts = SchemaReader(access, subject_of(contract.name)).read()
    except RegistryError as problem:
        raise UserError(str(problem), "start the registry, or correct STREAMFLOW_SCHEMA_REGISTRY") from None
    reader, schemas = reader_schema(contract), WriterSchemas()
    schemas.use({schema_id: resolved(text, reader) for schema_id, text in texts.items()})
    return schemas.parse
