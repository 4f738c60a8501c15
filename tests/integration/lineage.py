"""Reads the lineage of tables from OpenLineage events."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file with one JSON document per line."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def sources_of(events: list[dict[str, Any]], table: str) -> set[str]:
    """Return all tables that a table was derived from, directly or indirectly, as ``schema.table``."""
    made_of: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event["eventType"] == "COMPLETE":
            for output in event.get("outputs", []):
                made_of[_name(output)] |= {_name(source) for source in event.get("inputs", [])}
    found: set[str] = set()
    waiting = [table]
    while waiting:
        fresh = made_of[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found


def _name(dataset: dict[str, Any]) -> str:
    return str(dataset["name"]).partition(".")[2]  # the database comes first
