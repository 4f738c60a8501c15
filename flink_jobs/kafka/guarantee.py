"""Delivery guarantees of the output topics."""

from typing import Literal

Guarantee = Literal["exactly_once", "at_least_once"]
