"""Identifiers in paths and queries, with the core's limits."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator

from flink_jobs.core.parsing.transactions import MAX_IDENTIFIER_CHARS
from flink_jobs.core.texts import has_no_control


def _valid(text: str) -> str:
    if not has_no_control(text) or text.isspace():
        message = "control characters and blank identifiers are not allowed"
        raise ValueError(message)
    return text


Identifier = Annotated[str, AfterValidator(_valid)]
TransactionId = Annotated[Identifier, Path(min_length=1, max_length=MAX_IDENTIFIER_CHARS)]
CustomerQuery = Annotated[Identifier, Query(min_length=1, max_length=MAX_IDENTIFIER_CHARS)]
OptionalCustomer = Annotated[Identifier | None, Query(min_length=1, max_length=MAX_IDENTIFIER_CHARS)]
"""The customer of a transaction: ids of transactions are unique per customer only."""
