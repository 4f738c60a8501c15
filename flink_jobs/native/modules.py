"""Which modules are compiled, and the folder where the build of these very sources lies."""

import hashlib
import sys
from pathlib import Path
from typing import Final

CORE: Final = Path(__file__).resolve().parent.parent / "core"
BUILDS: Final = CORE.parent.parent / ".tools" / "native"
COMPILED: Final = (
    "decision",
    "evaluator",
    "features.vector",
    "parsing.source_record",
    "parsing.transactions",
    "scoring",
    "state.category_habits",
    "state.codec",
    "state.customer",
    "state.fields",
    "state.recent",
    "state.running_stats",
    "currencies",
    "transaction",
)
"""Modules of ``flink_jobs.core`` on the way of every event. What changes once in a while stays Python.

mypyc 1.x crashes on ``@dataclass(frozen=True)`` and on ``slots=True``; none of these may hold one (the build refuses).
"""
WALKER: Final = "models.trees._tree_walk"
"""The one module of ours that is C from the start: compiled Python cannot keep arrays of plain numbers."""
GROUP: Final = "streamflow_core"
"""Name of the library that all compiled modules share."""


def build_folder() -> Path:
    """Return where the build of the present sources is, or would be.

    The name is a digest of every source of the core (a compiled module knows the shape of what it imports) and of the
    interpreter: an edited file finds no build instead of an old one.
    """
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\n{COMPILED}\n".encode())
    for path in sorted([*CORE.rglob("*.py"), *CORE.rglob("*.c")]):
        digest.update(str(path.relative_to(CORE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return BUILDS / digest.hexdigest()[:32]


def source_of(name: str, suffix: str = ".py") -> Path:
    """Return the file below the core that a dotted name such as ``state.codec`` stands for."""
    return Path(*name.split(".")).with_suffix(suffix)
