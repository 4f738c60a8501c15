"""Delivery guarantees of the output topics."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

Guarantee = Literal["exactly_once", "at_least_once"]

GuaranteeText = Annotated[
    Guarantee, BeforeValidator(lambda value: value.replace("-", "_") if isinstance(value, str) else value)
]
"""A guarantee in a setting; Kafka's and Flink's documents write ``at-least-once``, which is accepted too."""
