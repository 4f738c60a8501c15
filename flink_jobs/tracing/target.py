"""The receiver of spans. No package is imported here, because the settings of every environment have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PATH: Final = "/v1/traces"


@dataclass(frozen=True, slots=True)
class TraceTarget:
    """A receiver of spans; the graph of a job contains it pickled."""

    endpoint: str
    """URL without ``/v1/traces``."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers of each request; they can hold credentials."""
