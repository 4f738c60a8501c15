"""Which modules are compiled, and the folder where the build of these very sources lies."""

import hashlib
import sys
from pathlib import Path
from typing import Final

CORE: Final = Path(__file__).resolve().parent.parent / "core"
BUILDS: Final = CORE.parent.parent / ".tools" / "native"
COMPILED: Final = (
    "category_habits",
    "currencies",
    "decision",
    "evaluator",
    "features",
    "parsing",
    "recent_states",
    "running_stats",
    "scoring",
    "source_record",
    "state",
    "state_bytes",
    "state_fields",
    "transaction",
)
"""Modules of ``flink_jobs.core`` on the way of every event. What changes once in a while stays Python.

mypyc 1.x crashes on ``@dataclass(frozen=True)`` and on ``slots=True``; none of these may hold one (the build refuses).
"""
WALKER: Final = "_tree_walk"
"""The one module of ours that is C from the start: compiled Python cannot keep arrays of plain numbers."""
GROUP: Final = "streamflow_core"
"""Name of the library that all compiled modules share."""


def build_folder() -> Path:
    """Return where the build of the present sources is, or would be.

    The name is a digest of every source of the core (a compiled module knows the shape of what it imports) and of the
    interpreter: an edited file finds no build instead of an old one.
    """
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\n{COMPILED}\n".encode())
    for path in sorted([*CORE.glob("*.py"), *CORE.glob("*.c")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return BUILDS / digest.hexdigest()[:32]
